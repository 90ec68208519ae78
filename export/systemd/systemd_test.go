package systemd

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/schema"
)

// needSystemd skips where systemd's own tools are not installed.
func needSystemd(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed (Debian: systemd)")
	}
}

// shop is a model that systemd can hold: the one of all targets without its sandbox.
func shop() *schema.Model {
	m := exporttest.Shop()
	for _, s := range m.Services {
		if s.Isolation == "sandbox" {
			s.Isolation = "namespace"
		}
	}
	return m
}

func bundle(t testing.TB, m *schema.Model) export.Bundle {
	t.Helper()
	b, _, err := export.Run(Target(), m, exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write puts a bundle into a directory and gives the paths of its units.
func write(dir string, b export.Bundle) (units []string, err error) {
	for _, f := range b.Files {
		name := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			return nil, err
		}
		if strings.HasPrefix(f.Path, "system/") {
			units = append(units, name)
		}
	}
	return units, nil
}

// analyze runs systemd-analyze with nothing of this machine's environment.
func analyze(args []string, env ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := exec.Command("systemd-analyze", args...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "SYSTEMD_COLORS=0"}, env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func TestVerify(t *testing.T) {
	t.Parallel()
	needSystemd(t)
	m := shop()
	web := m.Service("web")
	web.Network, web.OnDemand = schema.NetworkNone, true
	m.Service("api").ListenFDs = true
	m.Service("api").IdleTimeout = 0
	units, err := write(t.TempDir(), bundle(t, m))
	if err != nil {
		t.Fatal(err)
	}
	_, stderr, err := analyze(append([]string{"verify"}, units...))
	for line := range strings.Lines(stderr) {
		if strings.Contains(line, "shop-") || strings.Contains(line, "shop.target") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, stderr)
	}
	if _, stderr, err := analyze(append([]string{"verify"}, breakUnit(t, units[0]))); err == nil && !strings.Contains(stderr, "ProtectSystm") {
		t.Error("a broken unit passes: the test would see nothing")
	}
}

// breakUnit misspells a setting of a unit.
func breakUnit(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), filepath.Base(name))
	if err := os.WriteFile(broken, bytes.Replace(data, []byte("[Service]\n"), []byte("[Service]\nProtectSystm=strict\n"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	return broken
}

// TestSecurityScores holds the walls to systemd's own judgement: 0 is a fortress,
// 10 is none.
func TestSecurityScores(t *testing.T) {
	t.Parallel()
	needSystemd(t)
	units, err := write(t.TempDir(), bundle(t, shop()))
	if err != nil {
		t.Fatal(err)
	}
	scores := map[string]float64{}
	overall := regexp.MustCompile(`Overall exposure level for (\S+): ([0-9.]+)`)
	for _, u := range units {
		if !strings.HasSuffix(u, ".service") {
			continue
		}
		out, stderr, err := analyze([]string{"security", "--offline=true", "--no-pager", u})
		m := overall.FindStringSubmatch(out)
		if err != nil || m == nil {
			t.Fatalf("%s: %v\n%s%s", u, err, out, stderr)
		}
		if scores[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
			t.Fatal(err)
		}
	}
	for name, limits := range map[string][2]float64{
		"shop-api-prod.service": {0, 2.5}, "shop-db-main.service": {0, 2.5}, "shop-web-prod-proxy.service": {0, 2.5}, "shop-worker-a.service": {8, 10},
	} {
		if score, ok := scores[name]; !ok || score < limits[0] || score > limits[1] {
			t.Errorf("%s scores %.1f, want %.1f to %.1f", name, score, limits[0], limits[1])
		}
	}
	t.Logf("scores: %v", scores)
}

// TestUsersAndDirectories lets systemd make both in a directory of its own.
func TestUsersAndDirectories(t *testing.T) {
	t.Parallel()
	needSystemd(t)
	dir, root := t.TempDir(), t.TempDir()
	if _, err := write(dir, bundle(t, shop())); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		t.Skip("making users in a directory needs root")
	}
	for _, args := range [][]string{
		{"systemd-sysusers", "--root=" + root, filepath.Join(dir, "sysusers.d/shop.conf")},
		{"systemd-tmpfiles", "--root=" + root, "--create", filepath.Join(dir, "tmpfiles.d/shop.conf")},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil || bytes.Contains(bytes.ReplaceAll(out, []byte("Creating"), nil), []byte("shop.conf")) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	passwd, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil || !bytes.Contains(passwd, []byte("shop-db-main:")) {
		t.Errorf("no user shop-db-main: %v\n%s", err, passwd)
	}
	if info, err := os.Stat(filepath.Join(root, "var/lib/shop/db/main")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of db:main: %v %v", info, err)
	}
}

// dumped is what systemd itself reads in a unit.
type dumped struct {
	argv, env []string
	dir       string
}

// dump has systemd read units and say what it read.
func dump(units []string) (map[string]dumped, error) {
	out, stderr, err := analyze(append([]string{"verify"}, units...), "SYSTEMD_LOG_LEVEL=debug")
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, stderr)
	}
	all := map[string]dumped{}
	for _, part := range strings.Split(out, "\t-> Unit ")[1:] {
		name, rest, _ := strings.Cut(part, ":\n")
		var d dumped
		if _, after, ok := strings.Cut(rest, "\t-> ExecStart:\n"); ok {
			_, line, _ := strings.Cut(after, "Command Line: ")
			line, _, _ = strings.Cut(line, "\n")
			if d.argv, err = unshell(line); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		block, _, _ := strings.Cut(rest, "\n\t\tRuntimeDirectoryPreserve:")
		if _, block, ok := strings.Cut(block, "\t\tEnvironment: "); ok {
			d.env = strings.Split(block, "\n\t\tEnvironment: ")
		}
		if m := regexp.MustCompile(`\t\tWorkingDirectory: (.*)\n`).FindStringSubmatch(rest); m != nil {
			d.dir = m[1]
		}
		all[name] = d
	}
	return all, nil
}

// unshell reads a command line as systemd prints it: words in double quotes with
// escapes.
func unshell(line string) (words []string, err error) {
	for line = strings.Trim(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] != '"' {
			w, rest, _ := strings.Cut(line, " ")
			words, line = append(words, w), rest
			continue
		}
		var b strings.Builder
		i := 1
		for ; i < len(line) && line[i] != '"'; i++ {
			if line[i] != '\\' {
				b.WriteByte(line[i])
				continue
			}
			i++
			if n := strings.IndexByte("abfnrtv", line[i]); n >= 0 {
				b.WriteByte("\a\b\f\n\r\t\v"[n])
			} else if line[i] >= '0' && line[i] <= '7' {
				v, err := strconv.ParseUint(line[i:i+3], 8, 8)
				if err != nil {
					return nil, err
				}
				b.WriteByte(byte(v))
				i += 2
			} else {
				b.WriteByte(line[i])
			}
		}
		words, line = append(words, b.String()), line[min(i+1, len(line)):]
	}
	return words, nil
}

// TestEveryValueComesBack has systemd read random models and compares each word.
func TestEveryValueComesBack(t *testing.T) {
	t.Parallel()
	needSystemd(t)
	dir := t.TempDir()
	n := 0
	defer func() { t.Logf("systemd read %d models; the others were refused", n) }()
	proptest.Check(t, func(t *rapid.T) {
		m := exporttest.Random().Draw(t, "model")
		exporttest.OddNames(t, m)
		for _, s := range m.Services {
			if s.Isolation == "sandbox" {
				s.Isolation = "namespace"
			}
		}
		b, _, err := export.Run(Target(), m, exporttest.Options())
		if err != nil {
			return // refused
		}
		if n++; testing.Short() && n > 20 {
			return
		}
		units, err := write(filepath.Join(dir, strconv.Itoa(n)), b)
		if err != nil {
			t.Fatal(err)
		}
		read, err := dump(units)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range m.Services {
			for _, id := range s.Instances {
				compare(t, m, s, id, read["shop-"+s.Name+"-"+id+".service"])
			}
		}
	})
}

// compare undoes env and holds the result to the model.
func compare(t *rapid.T, m *schema.Model, s *schema.Service, id string, got dumped) {
	env := map[string]string{}
	for _, e := range got.env {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	if len(got.argv) == 0 || got.argv[0] != "/usr/bin/env" {
		t.Fatalf("%s:%s runs %q", s.Name, id, got.argv)
	}
	words, dir := got.argv[1:], got.dir
	if len(words) > 1 && words[0] == "-C" {
		words, dir = words[2:], words[1]
	}
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for len(words) > 0 && strings.Contains(words[0], "=") {
		name, value, _ := strings.Cut(words[0], "=")
		env[name], words = value, words[1:]
	}
	layout := export.Layout{
		Target: "systemd", Code: "/opt/shop/" + s.Source, Data: "/var/lib/shop", Sockets: "/run/shop-{name}-{id}",
		Port: func(*schema.Service, string) int { p, _ := strconv.Atoi(env["PORT"]); return p },
	}
	want, err := export.Resolve(m, s, id, layout)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(words, want.Argv) {
		t.Fatalf("argv came back as %q, want %q", words, want.Argv)
	}
	if !maps.Equal(env, want.Env) {
		t.Fatalf("env came back as %q, want %q", env, want.Env)
	}
	if dir != want.Dir {
		t.Fatalf("directory came back as %q, want %q", dir, want.Dir)
	}
}
