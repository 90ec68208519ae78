package program

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	tenpulumi "github.com/tenement/ten/export/pulumi"
)

// TestPulumi has the pulumi command and its YAML host judge an export, offline,
// against a provider that is true to the SDK's types. make test-pulumi builds both
// and sets TEN_PULUMI to where they are.
func TestPulumi(t *testing.T) {
	bin := os.Getenv("TEN_PULUMI")
	if bin == "" {
		t.Skip("pulumi is not built: make test-pulumi does, in some minutes")
	}
	c := newCLI(t, bin)
	file := filepath.Join(c.dir, "Pulumi.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	good = append(good, "plugins:\n  providers:\n    - name: docker\n      path: "+c.plugins+"\n"...)
	write(t, file, good)

	c.run(true, "stack", "init", "dev")
	// the stack, its provider and a network; an image a service; a container an
	// instance, and a volume where its data is kept
	if said := c.run(true, "preview", "--diff"); !strings.Contains(said, "+ 18 to create") {
		t.Errorf("not 18 to create:\n%s", said)
	}
	c.run(true, "up", "--yes", "--skip-preview")
	if said := c.run(true, "preview", "--expect-no-changes"); !strings.Contains(said, "18 unchanged") {
		t.Errorf("what was made is not what is wanted:\n%s", said)
	}
	c.compare()
	for old, broken := range map[string]struct{ text, said string }{
		"stopTimeout: 10":         {"stopTimeouts: 10", "stopTimeouts"},
		"imageName: ":             {"imageNames: ", "imageName"},
		"maxRetryCount: 5":        {"maxRetryCount: often", "maxRetryCount"},
		"docker:Volume\n":         {"docker:Volumes\n", "docker:Volumes"},
		"${Network.name}":         {"${Networks.name}", "Networks"},
		"${Image-web.repoDigest}": {"${Image-web.digest}", "digest"},
		"startPeriod: ":           {"startPeriods: ", "startPeriods"},
		"networksAdvanced:\n":     {"networkAdvanced:\n", "networkAdvanced"},
	} {
		bad := strings.Replace(string(good), old, broken.text, 1)
		if bad == string(good) {
			t.Errorf("no %q in the export", old)
			continue
		}
		write(t, file, []byte(bad))
		if said := c.run(false, "preview"); !strings.Contains(said, broken.said) {
			t.Errorf("%q is not what is wrong:\n%s", broken.text, said)
		}
	}
}

// compare holds what the provider was asked to make to the model.
func (c *cli) compare() {
	c.t.Helper()
	var state struct {
		Deployment struct {
			Resources []struct {
				Type   string
				Inputs struct {
					Name          string
					Command, Envs []string
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(c.run(true, "stack", "export")), &state); err != nil {
		c.t.Fatal(err)
	}
	made := map[string][2][]string{}
	for _, r := range state.Deployment.Resources {
		if r.Type == containerType {
			made[r.Inputs.Name] = [2][]string{r.Inputs.Command, r.Inputs.Envs}
		}
	}
	all, _, err := export.Instances(exporttest.Shop(), export.ContainerLayout("pulumi"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, in := range all {
		got, command := made["shop-"+in.Service.Name+"-"+in.ID], in.Argv
		if in.Service.Source == "db" {
			command = nil // its image has an entrypoint, in whose place it stands
		}
		if !slices.Equal(got[0], command) || !slices.Equal(got[1], exporttest.EnvList(in.Env)) {
			c.t.Errorf("%s became %q, want %q and %q", in.Label(), got, command, in.Env)
		}
	}
	if len(made) != len(all) {
		c.t.Errorf("%d containers of %d", len(made), len(all))
	}
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// cli is the command in the export of the shop, with nothing of the machine's own
// settings.
type cli struct {
	t            *testing.T
	bin, plugins string
	dir          string
	env          []string
}

// newCLI writes the repository of the shop and its export beneath it, and makes
// this program the docker provider.
func newCLI(t *testing.T, bin string) *cli {
	root := t.TempDir()
	c := &cli{t: t, bin: filepath.Join(bin, "pulumi"), dir: filepath.Join(root, "deploy", "pulumi"), plugins: filepath.Join(root, "plugins")}
	if err := os.CopyFS(root, exporttest.Tree()); err != nil {
		t.Fatal(err)
	}
	b, _, err := export.Run(tenpulumi.Target(), exporttest.Shop(), exporttest.Options())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range b.Files {
		write(t, filepath.Join(c.dir, f.Path), f.Data)
	}
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"plugins", "home", "state"} {
		if err := os.MkdirAll(filepath.Join(root, dir), fs.ModePerm); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(me, filepath.Join(c.plugins, plugin)); err != nil {
		t.Fatal(err)
	}
	c.env = []string{
		"PATH=" + bin + string(filepath.ListSeparator) + os.Getenv("PATH"), "HOME=" + filepath.Join(root, "home"),
		"PULUMI_HOME=" + filepath.Join(root, "home"), "PULUMI_BACKEND_URL=file://" + filepath.Join(root, "state"),
		"PULUMI_SKIP_UPDATE_CHECK=true", "PULUMI_CONFIG_PASSPHRASE=x", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION=true",
	}
	return c
}

// run gives all output. Whether the command succeeds has to be as expected.
func (c *cli) run(good bool, args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.bin, append(args, "--non-interactive", "--color", "never")...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	if (err == nil) != good {
		c.t.Fatalf("pulumi %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
