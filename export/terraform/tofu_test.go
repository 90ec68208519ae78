package terraform

import (
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
)

// TestTofu has OpenTofu and the docker provider judge an export, offline. make
// test-tofu builds both and sets TEN_TOFU to where they are.
func TestTofu(t *testing.T) {
	bin := os.Getenv("TEN_TOFU")
	if bin == "" {
		t.Skip("OpenTofu is not built: make test-tofu does, in some minutes")
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "deploy", "terraform")
	writeTree(t, dir, out)
	tofu := &cli{t: t, bin: filepath.Join(bin, "tofu"), dir: out, home: filepath.Join(dir, "home"), engine: fakeEngine(t)}
	tofu.mirror(filepath.Join(bin, "terraform-provider-docker"), filepath.Join(dir, "mirror"))

	tofu.run(true, "fmt", "-check", "-diff", "-recursive")
	tofu.run(true, "init", "-input=false", "-no-color")
	tofu.run(true, "validate", "-no-color")
	plan := tofu.run(true, "plan", "-input=false", "-no-color", "-lock=false")
	// a network; an image a service; a container an instance
	if want := "Plan: 12 to add, 0 to change, 0 to destroy"; !strings.Contains(plan, want) {
		t.Errorf("no %q in\n%s", want, plan)
	}

	services := filepath.Join(out, "services.tf")
	good, err := os.ReadFile(services)
	if err != nil {
		t.Fatal(err)
	}
	for old, broken := range map[string]struct{ text, said string }{
		`restart       = "always"`: {`restart       = "sometimes"`, "restart"},
		"stop_timeout":             {"stop_timeouts", `"stop_timeouts"`},
		"docker_image.web.":        {"docker_image.wob.", `"wob"`},
		"[\"ALL\"]":                {"{}", "drop"},
	} {
		bad := strings.Replace(string(good), old, broken.text, 1)
		if bad == string(good) {
			t.Fatalf("no %s in the export", old)
		}
		if err := os.WriteFile(services, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if said := tofu.run(false, "validate", "-no-color"); !strings.Contains(said, broken.said) {
			t.Errorf("%s is not what is wrong:\n%s", broken.text, said)
		}
	}
}

// writeTree writes the repository of the shop, and its export beneath it.
func writeTree(t *testing.T, dir, out string) {
	t.Helper()
	write := func(name string, data []byte) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree := exporttest.Tree()
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		write(filepath.Join(dir, name), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := export.Run(Target(), exporttest.Shop(), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range b.Files {
		write(filepath.Join(out, f.Path), f.Data)
	}
}

// fakeEngine answers what the provider asks an engine before it plans.
func fakeEngine(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.47")
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			_, _ = w.Write([]byte("OK"))
			return
		}
		http.Error(w, `{"message":"there is nothing here"}`, http.StatusNotFound)
	}))
	t.Cleanup(s.Close)
	return "tcp://" + strings.TrimPrefix(s.URL, "http://")
}

// cli is the command, with nothing of the machine's own settings.
type cli struct {
	t                              *testing.T
	bin, dir, home, config, engine string
}

// mirror makes the provider be found in a directory, and nowhere else. The host
// of its full address is as the command prints it.
func (c *cli) mirror(provider, dir string) {
	c.t.Helper()
	address := regexp.MustCompile(`provider\[([^/\]]+)/` + ProviderSource + `\]`).FindStringSubmatch(c.run(true, "providers"))
	if address == nil {
		c.t.Fatal("the command names no provider of the export")
	}
	version := strings.TrimPrefix(ProviderVersion, "~> ") + ".0"
	place := filepath.Join(dir, address[1], filepath.FromSlash(ProviderSource), version, runtime.GOOS+"_"+runtime.GOARCH)
	if err := os.MkdirAll(place, 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Symlink(provider, filepath.Join(place, "terraform-provider-docker_v"+version)); err != nil {
		c.t.Fatal(err)
	}
	c.config = filepath.Join(dir, "cli.tfrc")
	text := "disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = \"" + filepath.ToSlash(dir) + "\"\n  }\n}\n"
	if err := os.WriteFile(c.config, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// run gives all output. Whether the command succeeds has to be as expected.
func (c *cli) run(good bool, args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.bin, args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"HOME=" + c.home, "PATH=" + os.Getenv("PATH"), "TF_CLI_CONFIG_FILE=" + c.config, "DOCKER_HOST=" + c.engine}
	out, err := cmd.CombinedOutput()
	if (err == nil) != good {
		c.t.Fatalf("tofu %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
