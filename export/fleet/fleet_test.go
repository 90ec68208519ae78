package fleet_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/export/fleet"
	"github.com/tenement/ten/schema"
)

func anything(string) (string, string) { return "", "" }

func hosts(t *testing.T, change func(m *schema.Model)) fleet.Fleet {
	t.Helper()
	m := exporttest.WithHosts(exporttest.Shop())
	if change != nil {
		change(m)
	}
	f, err := fleet.New(m, exporttest.Options(), "x", anything)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestHostsOfAModel(t *testing.T) {
	t.Parallel()
	f := hosts(t, nil)
	if len(f.Servers) != 2 || f.Servers[0].Name != "2nd" || len(f.Machines) != 1 {
		t.Fatalf("servers %v, machines %v", f.Servers, f.Machines)
	}
	if len(f.Keys) != 2 || f.Keys[0].Name == f.Keys[1].Name {
		t.Errorf("a key that two lines name is made once: %v", f.Keys)
	}
	if address, ok := f.EngineURL(); !ok || address != "ssh://ops@[2001:db8::1]:2222" {
		t.Errorf("the engine is at %q, %v", address, ok)
	}
	if !slices.Equal(f.Ports, []int{22, 80, 443, 8080}) || !slices.Equal(f.Flags, []string{"--domain", "shop.example"}) {
		t.Errorf("ports %v, flags %q", f.Ports, f.Flags)
	}
	if none, err := fleet.New(exporttest.Shop(), exporttest.Options(), "x", anything); err != nil || len(none.Servers)+len(none.Machines)+len(none.Ports) != 0 {
		t.Errorf("without slum.toml: %+v, %v", none, err)
	}
}

func TestFlagsFollowTheSettings(t *testing.T) {
	t.Parallel()
	f := hosts(t, func(m *schema.Model) {
		m.Settings.TLS = schema.TLS{Enabled: true, ACMEEmail: "a@example.com", DNSProvider: "hetzner"}
	})
	if want := []string{"--domain", "shop.example", "--tls", "--email", "a@example.com", "--dns-provider", "hetzner"}; !slices.Equal(f.Flags, want) {
		t.Errorf("flags %q", f.Flags)
	}
	if !slices.Equal(f.Ports, []int{22, 80, 443}) {
		t.Errorf("ports %v", f.Ports)
	}
	f = hosts(t, func(m *schema.Model) { m.Settings.Port = 9000 })
	if !slices.Contains(f.Ports, 9000) || !slices.Equal(f.Flags[2:], []string{"--port", "9000"}) {
		t.Errorf("ports %v, flags %q", f.Ports, f.Flags)
	}
}

func TestTextThatNoFileHoldsIsRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"a\x00", "\xff"} {
		m := exporttest.WithHosts(exporttest.Shop())
		m.Slum.Hosts[0].Type = bad
		_, err := fleet.New(m, exporttest.Options(), "x", anything)
		refused, ok := err.(*export.RefusedError)
		if !ok || refused.Field != "slum.host.2nd.type" || refused.Nearest == "" || strings.Contains(refused.Error(), "service") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestScripts runs what a new host runs, with programs of the test's own in the
// place of curl and sudo: ten gets its arguments as they are, whatever is in them,
// and a program with another sum is not run.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"sh", "sha256sum", "mktemp"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	const repo = `https://example.com/it's "$HOME" $(x) \ r.git`
	dir := t.TempDir()
	ten := "#!/bin/sh\nprintf '%s\\n' \"$@\" > " + dir + "/told\n"
	sum := sha256.Sum256([]byte(ten))
	for name, text := range map[string]string{
		"ten":  ten,
		"curl": "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\ncp " + dir + "/ten \"$2\"\n",
		"sudo": "#!/bin/sh\n[ \"$1\" = -n ] && shift && exec \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := hosts(t, nil)
	run := func(sum string, remote string) (told string, err error) {
		_ = os.Remove(dir + "/told")
		argv := append(fleet.Command(), "https://example.com/ten", sum, "--repo", repo)
		cmd := exec.CommandContext(t.Context(), "sh", append(argv[1:], f.Flags...)...)
		if remote != "" {
			cmd = exec.CommandContext(t.Context(), "sh", "-c", remote)
			cmd.Stdin = strings.NewReader("https://example.com/ten\n" + sum + "\n" + repo + "\n")
		}
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}
		_, err = cmd.CombinedOutput()
		data, _ := os.ReadFile(dir + "/told")
		return string(data), err
	}
	want := "install\n--repo\n" + repo + "\n--domain\nshop.example\n"
	for _, remote := range []string{"", f.Remote("root"), f.Remote("ops")} {
		if told, err := run(hex.EncodeToString(sum[:]), remote); err != nil || told != want {
			t.Errorf("%q: told %q, %v", remote, told, err)
		}
		if told, err := run(strings.Repeat("0", 64), remote); err == nil || told != "" {
			t.Errorf("%q: a program with another sum ran: %q, %v", remote, told, err)
		}
	}
}
