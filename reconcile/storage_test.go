package reconcile

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/fake"
	"github.com/tenement/ten/schema"
)

func fleeting(s *schema.Service) {
	s.StoragePersist = false
	s.Fields["storage_persist"] = "false"
}

func code(tree string) func(*schema.Service) {
	return func(s *schema.Service) { s.Fields["source.tree"] = `"` + tree + `"` }
}

func building(command string) func(*schema.Service) {
	return func(s *schema.Service) { s.Build, s.Fields["build"] = command, `"`+command+`"` }
}

// mark writes a file into an instance's data directory and gives its path.
func (m *machine) mark(service string) string {
	m.t.Helper()
	file := filepath.Join(m.dir, service, "a", "data")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return file
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestOnlyWhatSaysSoLosesItsData(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("db"), service("tmp", fleeting), service("old", fleeting), service("still"))
		m.settles("r1")
		db, tmp, old := m.mark("db"), m.mark("tmp"), m.mark("old")
		m.on(func(when string, key runtimes.Key) {
			if key.Service == "tmp" && when == "before stop" && len(m.alive()) > 4 && !there(tmp) {
				t.Error("the data went while an incarnation lived")
			}
		})
		m.push("r2", service("db", env("2")), service("tmp", fleeting, env("2")), service("old", fleeting), service("still"))
		m.settles("r2")
		if !there(db) || !there(tmp) || !there(old) {
			t.Errorf("a restart lost data: db %t, tmp %t, old %t", there(db), there(tmp), there(old))
		}
		m.crash("tmp:a")
		m.crash("db:a")
		m.await("both are back", func() bool { return len(m.alive()) == 4 })
		if there(tmp) || !there(filepath.Dir(tmp)) || !there(db) {
			t.Errorf("after crashes: tmp %t (its directory %t), db %t", there(tmp), there(filepath.Dir(tmp)), there(db))
		}
		m.push("r3", service("still"))
		m.settles("r3")
		if there(old) || !there(db) {
			t.Errorf("after their services are gone: old %t, which keeps nothing, db %t", there(old), there(db))
		}
	})
}

func TestDataThatCannotBeRemovedIsAnError(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.start()
		m.push("r1", service("tmp", fleeting))
		m.settles("r1")
		outside := filepath.Join(t.TempDir(), "precious")
		if err := os.WriteFile(outside, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Dir(outside), filepath.Join(m.dir, "tmp", "a", "link")); err != nil {
			t.Fatal(err)
		}
		m.crash("tmp:a")
		m.await("it is back", func() bool { return len(m.alive()) == 1 })
		if !there(outside) {
			t.Error("a link was followed out of the data directory")
		}
	})
}

// builds has every build take a second and end so; programs run.
func builds(end runtimes.Exit) func(runtimes.Spec) fake.Program {
	return func(spec runtimes.Spec) fake.Program {
		if strings.HasPrefix(spec.Key.Instance, buildPrefix) {
			return fake.Program{Exit: &end, RunFor: time.Second, Stdout: "building\n"}
		}
		return fake.Program{}
	}
}

func (m *machine) built() int {
	n := 0
	for _, call := range m.world.Calls() {
		if strings.HasPrefix(call, "start ") && strings.Contains(call, ":"+buildPrefix) {
			n++
		}
	}
	return n
}

func TestBuildRunsOnceForAllThatShareIt(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.world.SetScript(builds(runtimes.Exit{Known: true}))
		m.start()
		m.push("r1", service("api", building("make")), service("web", building("make"), ids("a", "b", "c")))
		m.settles("r1")
		if n := m.built(); n != 1 {
			t.Errorf("built %d times", n)
		}
		m.oneOfEach("api:a", "web:a", "web:b", "web:c")
		m.stop()
		m.start()
		m.crash("web:b")
		m.await("web:b is back", func() bool { return len(m.alive()) == 4 })
		if n := m.built(); n != 1 {
			t.Errorf("built %d times: the result was not kept", n)
		}
		// A result of which only the mark is left is none.
		list, err := filepath.Glob(filepath.Join(m.dir, ".ten", "builds", "*"))
		if err != nil || len(list) != 2 {
			t.Fatalf("builds: %v %v", list, err)
		}
		for _, path := range list {
			if filepath.Ext(path) == "" {
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
			}
		}
		m.crash("web:c")
		m.await("web:c is back", func() bool { return len(m.alive()) == 4 })
		if n := m.built(); n != 2 || !there(list[0]) {
			t.Errorf("built %d times; the lost result was taken for there", n)
		}
	})
}

func TestBuildThatFailsSaysWhy(t *testing.T) {
	for name, end := range map[string]runtimes.Exit{"with a status": {Known: true, Code: 2}, "nobody knows how": {}} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, func(t *testing.T, m *machine) {
				m.world.SetScript(builds(end))
				m.start()
				m.push("r1", service("web"))
				m.settles("r1")
				m.push("r2", service("web", building("make all")))
				s := m.state(api.Held)
				if !strings.Contains(s.Message, "make all") || !strings.Contains(s.Message, end.String()) || s.Revision.Applied != "r1" {
					t.Errorf("status: %+v", s)
				}
				m.oneOfEach("web:a")
				m.world.SetScript(builds(runtimes.Exit{Known: true}))
				m.do(api.Command{Verb: api.VerbRetry})
				m.settles("r2")
				m.oneOfEach("web:a")
			})
		})
	}
}

func TestBuildIsGivenUpForANewerRevision(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.world.SetScript(func(spec runtimes.Spec) fake.Program { return fake.Program{} }) // a build that never ends
		m.start()
		m.push("r1", service("web"))
		m.settles("r1")
		m.push("r2", service("api", building("sleep")), service("web", building("sleep")))
		m.await("it builds", func() bool { return m.built() == 1 })
		time.Sleep(time.Minute)
		m.push("r3", service("web", env("3")))
		m.settles("r3")
		m.oneOfEach("web:a")
		m.push("r4", service("web", building("sleep")))
		m.await("it builds", func() bool { return m.built() > 1 })
		began := time.Now()
		m.stop()
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("Run took %s to end", d)
		}
		m.start()
		m.push("r5", service("web", env("3")))
		m.settles("r5")
		m.oneOfEach("web:a")
		m.nothingStuck()
	})
}

func (m *machine) sources() []string {
	m.t.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join(m.dir, ".ten"), func(path string, d fs.DirEntry, err error) error {
		if parent := filepath.Base(filepath.Dir(path)); err == nil && (parent == "sources" || parent == "builds") {
			names = append(names, d.Name())
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return names
}

func TestUnusedSourcesGo(t *testing.T) {
	onMachine(t, func(t *testing.T, m *machine) {
		m.world.SetScript(builds(runtimes.Exit{Known: true}))
		m.start()
		m.push("r1", service("api", code("aaaa")), service("asleep", code("eeee"), func(s *schema.Service) { s.OnDemand = true }), service("web", code("bbbb")))
		m.settles("r1")
		m.do(api.Command{Verb: api.VerbPause, Service: "api"})
		m.push("r2", service("api", code("cccc")), service("web", code("dddd"), building("make")))
		m.state(api.Blocked)
		time.Sleep(time.Second)
		if got := m.sources(); !slices.Contains(got, "aaaa") || slices.Contains(got, "bbbb") || len(got) != 3 {
			t.Errorf("left: %v; want aaaa, which api runs from, and the build of web", got)
		}
		m.do(api.Command{Verb: api.VerbResume, Service: "api"})
		m.settles("r2")
		time.Sleep(time.Second)
		if got := m.sources(); !slices.Contains(got, "cccc") || slices.Contains(got, "aaaa") {
			t.Errorf("left: %v; want cccc", got)
		}
		for range 5 { // back and forth: what one revision leaves the next one needs
			m.push("back", service("api", code("aaaa")), service("web", code("bbbb")))
			m.settles("back")
			m.push("forth", service("api", code("cccc")), service("web", code("dddd"), building("make")))
			m.settles("forth")
		}
		time.Sleep(time.Second)
		if got := m.sources(); len(got) != 3 {
			t.Errorf("left: %v", got)
		}
		m.oneOfEach("api:a", "web:a")
	})
}
