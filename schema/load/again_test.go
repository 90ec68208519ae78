package load_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

// refused loads files that are not good, and gives what is said of them.
func refused(t *testing.T, l *load.Loader, tree load.Tree) string {
	t.Helper()
	model, problems, err := l.Load(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	if model != nil {
		t.Fatal("accepted")
	}
	return text(problems)
}

func TestUnchangedFilesAreNotReadAgain(t *testing.T) {
	t.Parallel()
	tree := newTree(many(50))
	l := newLoader()
	first := mustModel(t, l, tree, 50)
	before := tree.reads
	second := mustModel(t, l, tree, 50)
	if tree.reads != before {
		t.Errorf("%d files were read again", tree.reads-before)
	}
	for i := range first.Services {
		if first.Services[i] != second.Services[i] {
			t.Errorf("service %s was made again", first.Services[i].Name)
		}
	}
	tree.set("services/svc-0007.toml", "command = \"new\"\n")
	third := mustModel(t, l, tree, 50)
	if n := tree.reads - before; n != 1 {
		t.Errorf("one file changed and %d were read", n)
	}
	for i, s := range third.Services {
		if changed := s != second.Services[i]; changed != (s.Name == "svc-0007") {
			t.Errorf("service %s: changed %v", s.Name, changed)
		}
	}
}

// TestRememberedFilesStillTakePart: what concerns several files is judged anew,
// with places in files that were not read in this load.
func TestRememberedFilesStillTakePart(t *testing.T) {
	t.Parallel()
	tree := newTree(map[string]string{
		"tenement.toml":    "# nothing\n\n[service.web]\n\ncommand = \"x\"\ndepends_on = [\"db\"]\nport = 80\n\n[instances]\ndb = [\"a\"]\n",
		"services/db.toml": "command = \"db\"\n",
	})
	l := newLoader()
	mustModel(t, l, tree, 2)

	tree.set("services/db.toml", "command = \"db\"\nport = 80\ninstances = [\"b\"]\ndepends_on = [\"web\"]\n")
	got := refused(t, l, tree)
	for _, want := range []string{
		"services/db.toml:4:14: error: service.db.depends_on: depends on itself: db -> web -> db",
		"tenement.toml:7:8: error: service.web.port: port 80 is also wanted by service db",
		"tenement.toml:10:1: error: instances.db: the service lists its instances itself",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not said: %s\n%s", want, got)
		}
	}
	if again := refused(t, l, tree); again != got {
		t.Errorf("said differently the second time:\n%s\nfirst:\n%s", again, got)
	}

	tree.remove("services/db.toml")
	if got := refused(t, l, tree); !strings.Contains(got, `there is no service "db"`) {
		t.Errorf("a service that went is still there:\n%s", got)
	}
	tree.set("services/db.toml", "command = \"db\"\n")
	mustModel(t, l, tree, 2)
}

func TestInstancesChangeWithoutTheServicesFile(t *testing.T) {
	t.Parallel()
	tree := newTree(map[string]string{"tenement.toml": "[instances]\nweb = [\"a\"]\n", "services/web.toml": "command = \"x\"\n"})
	l := newLoader()
	before := mustModel(t, l, tree, 1).Service("web")
	tree.set("tenement.toml", "[instances]\nweb = [\"b\", \"a\"]\n")
	after := mustModel(t, l, tree, 1).Service("web")
	if fmt.Sprint(before.Instances, after.Instances) != "[a] [a b]" {
		t.Errorf("instances %v, then %v", before.Instances, after.Instances)
	}
	if before.Digest != after.Digest {
		t.Error("an instance more changed the digest of all")
	}
}

// TestCacheSavesTheJudge: another process with the same cache asks CUE nothing,
// and damage to the cache costs time only.
func TestCacheSavesTheJudge(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "cache")
	tree := newTree(many(20))
	mustModel(t, load.New(load.Config{CacheDir: dir}), tree, 20)
	file := filepath.Join(dir, "verdicts")
	good, err := os.ReadFile(file)
	if err != nil || len(good) == 0 || len(good)%32 != 0 {
		t.Fatalf("cache of %d bytes, %v", len(good), err)
	}
	second := load.New(load.Config{CacheDir: dir})
	mustModel(t, second, tree, 20)
	if load.Judged(second) {
		t.Error("CUE was asked about services that were judged before")
	}
	for name, damage := range map[string][]byte{"empty": {}, "cut short": good[:len(good)-5], "noise": []byte(strings.Repeat("x", 64))} {
		if err := os.WriteFile(file, damage, 0o600); err != nil {
			t.Fatal(err)
		}
		l := load.New(load.Config{CacheDir: dir})
		mustModel(t, l, tree, 20)
		if !load.Judged(l) {
			t.Errorf("%s: nothing was judged", name)
		}
		tree := newTree(map[string]string{"tenement.toml": "[service.web]\ncommand = \"x\"\nport = -1\n"})
		refused(t, load.New(load.Config{CacheDir: dir}), tree)
	}
	unwritable := load.New(load.Config{CacheDir: filepath.Join(file, "below a file")})
	mustModel(t, unwritable, tree, 20)
}

func TestBadFilesAreReportedEveryTime(t *testing.T) {
	t.Parallel()
	tree := newTree(map[string]string{"tenement.toml": "[service.web]\ncommand = \"x\"\nport = -1\n", "services/a.toml": "x = "})
	l := newLoader()
	first := refused(t, l, tree)
	if second := refused(t, l, tree); second != first || first == "" {
		t.Errorf("first:\n%s\nsecond:\n%s", first, second)
	}
}

func TestWarningsAreKeptWithTheFile(t *testing.T) {
	t.Parallel()
	tree := newTree(map[string]string{"tenement.toml": "[service.web]\ncommand = \"x\"\nenv = { PORT = \"1\" }\n"})
	l := newLoader()
	for range 2 {
		if m := mustModel(t, l, tree, 1); len(m.Warnings) != 1 || m.Warnings[0].Code != "no-effect" {
			t.Errorf("warnings %v", m.Warnings)
		}
	}
}

// TestManyServices: more than a repository may declare is one error.
func TestManyServices(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range schema.MaxServices + 1 {
		fmt.Fprintf(&b, "[service.s%d]\ncommand=\"x\"\n", i)
	}
	got := refused(t, newLoader(), newTree(map[string]string{"tenement.toml": b.String()}))
	if want := "tenement.toml: error: there are 10001 services; a repository may declare 10000\n"; !strings.HasPrefix(got, want) {
		t.Errorf("%.300s", got)
	}
}

func TestManyInstances(t *testing.T) {
	t.Parallel()
	files := map[string]string{"tenement.toml": ""}
	var ids strings.Builder
	for i := range schema.MaxInstances/2 + 1 {
		fmt.Fprintf(&ids, "\"i%d\",", i)
	}
	for _, s := range []string{"a", "b"} {
		files["services/"+s+".toml"] = "command = \"x\"\ninstances = [" + ids.String() + "]\n"
	}
	got := refused(t, newLoader(), newTree(files))
	if want := "tenement.toml: error: there are 100002 instances; a repository may declare 100000\n"; !strings.HasPrefix(got, want) {
		t.Errorf("%.300s", got)
	}
}

// failing is a tree that can't be read at one place.
type failing struct {
	*memTree
	name string
}

var errBroken = errors.New("zlib: invalid checksum")

func (f *failing) ReadFile(name string) ([]byte, error) {
	if name == f.name {
		return nil, errBroken
	}
	return f.memTree.ReadFile(name)
}

// TestBrokenTree: a tree that can't be read is an error, never a smaller model.
func TestBrokenTree(t *testing.T) {
	t.Parallel()
	tree := &failing{newTree(many(3)), "services/svc-0001.toml"}
	l := newLoader()
	model, problems, err := l.Load(t.Context(), tree)
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "services/svc-0001.toml") || model != nil || problems != nil {
		t.Errorf("model %v, problems %v, error %v", model, problems, err)
	}
	tree.name = ""
	mustModel(t, l, tree, 3)
}

func TestEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := newLoader().Load(ctx, newTree(many(3))); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
