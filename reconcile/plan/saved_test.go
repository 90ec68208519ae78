package plan

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/schema"
)

func savedOf(t testing.TB, d Desired, o Observed) Saved {
	t.Helper()
	return NewSaved("1.2.3", "/repo", d, o, New(d, o))
}

func TestSavedRoundTrip(t *testing.T) {
	t.Parallel()
	old := service("web", field("env.TOKEN", `"s3cr3t"`), func(s *schema.Service) { s.Env = map[string]string{"TOKEN": "s3cr3t"} })
	s := service("web", field("env.TOKEN", `"n3w"`), func(s *schema.Service) { s.Env = map[string]string{"TOKEN": "n3w"} })
	d, o := model(s), world(running(old, "prod", 1))
	saved := savedOf(t, d, o)
	var file bytes.Buffer
	if err := saved.Encode(&file); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"s3cr3t", "n3w"} {
		if strings.Contains(file.String(), secret) {
			t.Errorf("the file holds the secret %q", secret)
		}
	}
	got, err := Decode(&file)
	if err != nil {
		t.Fatal(err)
	}
	if moved := got.Stale(savedOf(t, d, o)); len(moved) > 0 {
		t.Errorf("nothing moved, and Stale says %q", moved)
	}
	if got.Fingerprint != Fingerprint(New(d, o)) {
		t.Error("the fingerprint of a saved plan is not that of the plan")
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	old, s := service("web"), service("web", field("env.LOG", `"info"`))
	d, o := model(s), world(running(old, "prod", 1))
	saved := savedOf(t, d, o)
	with := func(edit func(d *Desired, o *Observed)) Saved {
		d, o := model(s), world(running(old, "prod", 1))
		edit(&d, &o)
		return savedOf(t, d, o)
	}
	for name, tc := range map[string]struct {
		now  Saved
		want string // a part of what it says; "" = not stale
	}{
		"time goes on":            {with(func(_ *Desired, o *Observed) { o.Now = o.Now.Add(time.Hour) }), ""},
		"its health flickers":     {with(func(_ *Desired, o *Observed) { o.Instances[0].Health = "unknown" }), ""},
		"another revision":        {with(func(d *Desired, _ *Observed) { d.Revision = "0000000" }), "the revision was 4f2c91a, and is 0000000 now"},
		"somebody applied":        {with(func(_ *Desired, o *Observed) { o.Applied = "0000000" }), "applied before was 9be01d7"},
		"it is done already":      {with(func(_ *Desired, o *Observed) { o.Instances[0] = running(s, "prod", 2) }), "restart web:prod: is not to be done any more"},
		"it was replaced since":   {with(func(_ *Desired, o *Observed) { o.Instances[0] = running(old, "prod", 2) }), "restart web:prod: is not what it was"},
		"it waits for somebody":   {with(func(_ *Desired, o *Observed) { o.Paused = map[string]string{"web": ""} }), "restart web:prod: is not what it was"},
		"a new service":           {with(func(d *Desired, _ *Observed) { d.Model.Services = append(d.Model.Services, service("zoo")) }), "create zoo:prod: is new"},
		"another value":           {with(func(d *Desired, _ *Observed) { *d = model(service("web", field("env.LOG", `"warn"`))) }), "restart web:prod: is not what it was"},
		"another setting in time": {with(func(d *Desired, _ *Observed) { d.Model.Fields = map[string]string{"settings.data_dir": `"/x"`} }), "the configuration is not the one"},
	} {
		got := strings.Join(saved.Stale(tc.now), "\n")
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	newer := saved
	newer.TenVersion = "1.2.4"
	if got := saved.Stale(newer); len(got) != 1 || !strings.Contains(got[0], "ten 1.2.3, and this is ten 1.2.4") {
		t.Errorf("another ten: %q", got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	var good bytes.Buffer
	if err := savedOf(t, model(service("web")), world()).Encode(&good); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ file, want string }{
		"nothing":         {"", "not a saved plan"},
		"another file":    {"[settings]", "not a saved plan"},
		"another version": {`{"format_version": 99}`, "format 99"},
		"no version":      {`{}`, "format 0"},
		"unknown field":   {strings.Replace(good.String(), `"dir"`, `"folder"`, 1), "unknown field"},
		"edited":          {strings.Replace(good.String(), `"op": "create"`, `"op": "remove"`, 1), "changed after it was made"},
		"another commit":  {strings.Replace(good.String(), `"revision": "4f2c91a"`, `"revision": "0000000"`, 1), "changed after it was made"},
		"cut off":         {good.String()[:good.Len()/2], "not a saved plan"},
		"two of them":     {good.String() + good.String(), "not a saved plan"},
		"too big":         {strings.Repeat(" ", MaxSavedSize+1), "larger than 64 MB"},
	} {
		if _, err := Decode(strings.NewReader(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// FuzzSaved holds that no file makes Decode, or what is done with its result,
// fail otherwise than by an error. A file that says anything like a plan is
// sealed first, so that the fuzzer gets past the fingerprint.
func FuzzSaved(f *testing.F) {
	var good bytes.Buffer
	d, o := model(service("web", field("env.LOG", `"info"`))), world(running(service("web"), "prod", 1))
	if err := savedOf(f, d, o).Encode(&good); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte(`{"format_version": 1, "plan": {"actions": [{"op": "x", "blocked": {}, "after": [{"service": ""}]}]}}`))
	f.Add([]byte(`{"format_version": 1, "plan": null}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		if s, err := Decode(bytes.NewReader(file)); err == nil && s.FormatVersion != FormatVersion {
			t.Errorf("accepted format %d", s.FormatVersion)
		}
		var s Saved
		if json.Unmarshal(file, &s) != nil {
			return
		}
		s.Plan = s.Plan.Masked()
		s.FormatVersion, s.Revision, s.Fingerprint = FormatVersion, s.Plan.Revision, Fingerprint(s.Plan)
		var sealed, out bytes.Buffer
		if s.Encode(&sealed) != nil {
			return // a time beyond the year 9999
		}
		got, err := Decode(&sealed)
		if err != nil {
			t.Fatalf("a sealed plan is refused: %v", err)
		}
		if err := got.Plan.Text(&out, TextOptions{Full: true, Color: true}); err != nil {
			t.Fatal(err)
		}
		if err := got.Plan.Markdown(&out); err != nil {
			t.Fatal(err)
		}
		if moved := Moved(s.Plan, got.Plan); len(moved) > 0 {
			t.Errorf("nothing moved, and Moved says %q", moved)
		}
	})
}
