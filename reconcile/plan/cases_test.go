package plan_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tenement/ten/reconcile/plan"
	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

var update = flag.Bool("update", false, "rewrite the goldens of testdata/cases")

const casesDir = "../../testdata/cases"

// A case is a commit and an observed world:
//
//	commit/...     the revision: tenement.toml, services/*.toml, sources
//	before/...     the revision that was applied before it; every instance of it
//	               runs, healthy, as generation 1, unless world.json says else
//	world.json     what else was observed, see worldFile
//	out/model.json goldens, rewritten with -update: the model, one service a line
//	out/plan.txt
//	out/plan.json
type testCase struct {
	name    string
	archive *txtar.Archive
}

func readCases(t *testing.T) []testCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(casesDir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", casesDir, err)
	}
	cases := make([]testCase, len(files))
	for i, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cases[i] = testCase{strings.TrimSuffix(filepath.Base(file), ".txtar"), archive}
	}
	return cases
}

// file gives a file of the case, or nil.
func (c testCase) file(name string) []byte {
	for _, f := range c.archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// set replaces or adds a file of the case, in memory.
func (c testCase) set(name string, data []byte) {
	for i, f := range c.archive.Files {
		if f.Name == name {
			c.archive.Files[i].Data = data
			return
		}
	}
	c.archive.Files = append(c.archive.Files, txtar.File{Name: name, Data: data})
}

// tree gives the files of the case beneath a folder.
func (c testCase) tree(folder string) map[string][]byte {
	files := map[string][]byte{}
	for _, f := range c.archive.Files {
		if name, ok := strings.CutPrefix(f.Name, folder+"/"); ok {
			files[name] = f.Data
		}
	}
	return files
}

// worldFile is what a world.json may say. Instances named in Instances replace
// those of the same id that before/ gives; Absent takes them away.
type worldFile struct {
	Revision      string                          `json:"revision"` // of the commit; default 4f2c91a...
	Applied       *string                         `json:"applied"`  // default 9be01d7... where before/ is
	Subject       string                          `json:"subject"`
	Signer        string                          `json:"signer"`
	Ahead         int                             `json:"ahead"`
	Dirty         bool                            `json:"dirty"`
	Absent        []string                        `json:"absent"`
	Instances     []worldInstance                 `json:"instances"`
	AppliedFields map[string]string               `json:"applied_fields"`
	Unknown       map[runtimes.Level]string       `json:"unknown"`
	Levels        map[runtimes.Level]plan.Support `json:"levels"`
	Commands      map[string]string               `json:"commands"`
	Ports         map[int]worldHolder             `json:"ports"`
	Paused        map[string]string               `json:"paused"`
	Awake         []string                        `json:"awake"`
	Asleep        []string                        `json:"asleep"`
	Approved      bool                            `json:"approved"`
}

type worldHolder struct {
	Pid      int    `json:"pid"`
	Command  string `json:"command"`
	Instance string `json:"instance"`
}

type worldInstance struct {
	ID         string          `json:"id"`
	Generation uint64          `json:"generation"` // default 1
	As         string          `json:"as"`         // "before" (default) or "commit": whose config it was started with
	Phase      runtimes.Phase  `json:"phase"`      // default running
	Exit       *runtimes.Exit  `json:"exit"`       // At is set from Ago
	Ago        string          `json:"ago"`        // since it ended or was started; default 1h
	Health     runtimes.Health `json:"health"`     // default healthy, where it runs
	HealthText string          `json:"health_text"`
	Restarts   int             `json:"restarts"`
	Gate       *bool           `json:"gate"` // default open, where it runs
	Registered bool            `json:"registered"`
	Idle       string          `json:"idle"` // for how long; default it is not known
	Busy       bool            `json:"busy"`
}

const (
	thisRevision   = "4f2c91a0d2b7c4f3e5a69788990011223344aabb"
	beforeRevision = "9be01d7aa0b1c2d3e4f5061728394a5b6c7d8e9f"
)

func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

// input makes what New is given from a case.
func (c testCase) input(t *testing.T) (plan.Desired, plan.Observed) {
	t.Helper()
	var w worldFile
	if raw := c.file("world.json"); raw != nil {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&w); err != nil {
			t.Fatalf("world.json: %v", err)
		}
	}
	d := plan.Desired{
		Model: loadModel(t, c.tree("commit")), Revision: thisRevision,
		Subject: w.Subject, Signer: w.Signer, Ahead: w.Ahead, Dirty: w.Dirty,
	}
	if w.Revision != "" {
		d.Revision = w.Revision
	}
	o := plan.Observed{
		Now: noon(), Host: w.host(t), Unknown: w.Unknown, Paused: w.Paused, Approved: w.Approved,
	}
	for _, id := range w.Awake {
		o.Awake = append(o.Awake, parseID(t, id))
	}
	for _, id := range w.Asleep {
		o.Asleep = append(o.Asleep, parseID(t, id))
	}
	before := plan.Desired{Model: &schema.Model{}}
	if files := c.tree("before"); len(files) > 0 {
		before = plan.Desired{Model: loadModel(t, files), Revision: beforeRevision}
		o.Applied, o.AppliedFields = beforeRevision, before.Model.Fields
	}
	if w.Applied != nil {
		o.Applied = *w.Applied
	}
	if w.AppliedFields != nil {
		o.AppliedFields = w.AppliedFields
	}
	o.Instances = w.instances(t, before, d, o.Host)
	return d, o
}

func (w worldFile) host(t *testing.T) plan.Host {
	ok := plan.Support{OK: true}
	h := plan.Host{
		Name: "web1", DataDir: "/var/lib/ten", Commands: w.Commands, Ports: map[int]plan.Holder{},
		Levels: map[runtimes.Level]plan.Support{
			runtimes.Process: ok, runtimes.Namespace: ok,
			runtimes.VM: {Reason: "not supported by this build of ten", Hint: `set isolation = "namespace" or "process"`},
		},
	}
	maps.Copy(h.Levels, w.Levels)
	for port, holder := range w.Ports {
		p := plan.Holder{Pid: holder.Pid, Command: holder.Command}
		if holder.Instance != "" {
			p.Instance = parseID(t, holder.Instance)
		}
		h.Ports[port] = p
	}
	return h
}

// instances gives every instance of before, and what the file says of them.
func (w worldFile) instances(t *testing.T, before, d plan.Desired, h plan.Host) []plan.Instance {
	said := map[string]bool{}
	for _, id := range w.Absent {
		said[id] = true
	}
	for _, i := range w.Instances {
		said[i.ID] = true
	}
	all := w.Instances
	for _, s := range before.Model.Services {
		for _, id := range s.Instances {
			if name := s.Name + ":" + id; !said[name] && !s.OnDemand {
				all = append(all, worldInstance{ID: name})
			}
		}
	}
	var out []plan.Instance
	for _, i := range all {
		out = append(out, i.build(t, before, d, h))
	}
	slices.SortStableFunc(out, func(a, b plan.Instance) int {
		if c := a.Spec.Key.Compare(b.Spec.Key.ID); c != 0 {
			return c
		}
		return int(a.Spec.Key.Generation) - int(b.Spec.Key.Generation)
	})
	return out
}

func (i worldInstance) build(t *testing.T, before, d plan.Desired, h plan.Host) plan.Instance {
	id := parseID(t, i.ID)
	from := before
	if i.As == "commit" {
		from = d
	}
	s := from.Model.Service(id.Service)
	if s == nil {
		t.Fatalf("world.json: %s: no such service in %q", i.ID, i.As)
	}
	ago := time.Hour
	if i.Ago != "" {
		var err error
		if ago, err = time.ParseDuration(i.Ago); err != nil {
			t.Fatal(err)
		}
	}
	generation := max(i.Generation, 1)
	spec := plan.Bind(plan.SpecFor(s, id.Instance, from, h), generation, 31000+int(generation), fmt.Sprintf("/var/lib/ten/sock/%d/s", generation))
	p := plan.Instance{
		Instance: runtimes.Instance{Spec: spec, Phase: i.Phase, StartedAt: noon().Add(-time.Hour), Exit: i.Exit},
		Health:   i.Health, HealthText: i.HealthText, Restarts: i.Restarts, Registered: i.Registered,
	}
	if p.Phase == "" {
		p.Phase = runtimes.Running
	}
	p.Busy = i.Busy
	if i.Idle != "" {
		idle, err := time.ParseDuration(i.Idle)
		if err != nil {
			t.Fatal(err)
		}
		p.IdleSince = noon().Add(-idle)
	}
	if p.Exit != nil {
		exit := *p.Exit
		exit.At = noon().Add(-ago)
		p.Exit = &exit
	}
	if p.Phase == runtimes.Running {
		p.Pid = 4000 + int(generation)
		p.StartedAt = noon().Add(-ago)
		p.GateOpen = i.Gate == nil || *i.Gate
		if p.Health == "" {
			p.Health = runtimes.Healthy
		}
	} else if p.Health == "" {
		p.Health = runtimes.Unknown
	}
	return p
}

func parseID(t *testing.T, s string) runtimes.ID {
	t.Helper()
	id, err := runtimes.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestCases compares the plan of every case with its goldens, as text and JSON,
// and holds that together they show everything a plan can say.
func TestCases(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	shown := map[string]bool{}
	t.Run("all", func(t *testing.T) {
		for _, c := range readCases(t) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				p := runCase(t, c)
				mu.Lock()
				defer mu.Unlock()
				note(shown, p)
			})
		}
	})
	if t.Failed() {
		return
	}
	for _, what := range everything() {
		if !shown[what] {
			t.Errorf("no case in testdata/cases shows %s", what)
		}
	}
}

func runCase(t *testing.T, c testCase) plan.Plan {
	t.Helper()
	d, o := c.input(t)
	p := plan.New(d, o)
	var text, js bytes.Buffer
	if err := p.Text(&text, plan.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.JSON(&js); err != nil {
		t.Fatal(err)
	}
	outputs := map[string][]byte{"out/model.json": modelJSON(t, d.Model), "out/plan.txt": text.Bytes(), "out/plan.json": js.Bytes()}
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		got := outputs[name]
		if *update {
			c.set(name, got)
		} else if want := c.file(name); !bytes.Equal(got, want) {
			t.Errorf("%s differs; go test ./reconcile/plan -update rewrites it\n got:\n%s\nwant:\n%s", name, got, want)
		}
	}
	if *update {
		file := filepath.Join(casesDir, c.name+".txtar")
		if err := os.WriteFile(file, txtar.Format(c.archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// modelJSON gives a model with one service a line, which diffs well.
func modelJSON(t *testing.T, m *schema.Model) []byte {
	t.Helper()
	rest := *m
	rest.Services = nil
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(rest); err != nil {
		t.Fatal(err)
	}
	for _, s := range m.Services {
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// note marks what a plan shows.
func note(shown map[string]bool, p plan.Plan) {
	if p.Empty() {
		shown["an empty plan"] = true
	}
	if p.Guard != nil {
		shown["a guard"] = true
	}
	if !p.Next.IsZero() {
		shown["a delayed start"] = true
	}
	for _, a := range p.Actions {
		shown["op "+string(a.Op)] = true
		shown["reason "+a.Reason.Code] = true
		if a.Drift {
			shown["drift"] = true
		}
		if a.New != nil {
			shown["an interrupted rollout"] = true
		}
		if len(a.After) > 0 {
			shown["an order"] = true
		}
		if a.Blocked != nil {
			shown["block "+a.Blocked.Code] = true
		}
		for _, c := range a.Changes {
			shown["effect "+string(c.Effect)] = true
			if c.Sensitive {
				shown["a masked value"] = true
			}
		}
	}
}

func everything() []string {
	all := []string{"an empty plan", "a guard", "a delayed start", "drift", "an interrupted rollout", "an order", "a masked value"}
	for _, op := range []plan.Op{plan.OpReload, plan.OpUpdate, plan.OpCreate, plan.OpStart, plan.OpRestart, plan.OpReplace, plan.OpRemove, plan.OpCleanup} {
		all = append(all, "op "+string(op))
	}
	for _, e := range []plan.Effect{plan.EffectNone, plan.EffectLive, plan.EffectReload, plan.EffectRestart, plan.EffectReplace} {
		all = append(all, "effect "+string(e))
	}
	for _, code := range []string{
		plan.BlockPortTaken, plan.BlockLevelUnsupported, plan.BlockLevelUnknown, plan.BlockCommandNotFound,
		plan.BlockPaused, plan.BlockGuard, plan.BlockDependency,
	} {
		all = append(all, "block "+code)
	}
	for _, code := range []string{"new", "missing", "woken", "changed", "removed", "exited", "unhealthy", "interrupted", "superseded"} {
		all = append(all, "reason "+code)
	}
	return all
}
