package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tenement/ten/runtimes"
)

// MaxSavedSize bounds a saved plan: beyond it, Decode refuses to read on.
const MaxSavedSize = 64 << 20

// Saved is a plan in a file: what a person saw and may apply later, bound to
// the revision, the model, the observed world and the version of ten that it
// was made from. Secrets are masked in it; apply plans anew and compares.
type Saved struct {
	FormatVersion  int    `json:"format_version"`
	TenVersion     string `json:"ten_version"`
	Dir            string `json:"dir,omitempty"` // absolute; "" = the host's own source
	Revision       string `json:"revision"`
	ModelDigest    string `json:"model_digest"`
	ObservedDigest string `json:"observed_digest"`
	Fingerprint    string `json:"fingerprint"`
	Plan           Plan   `json:"plan"`
}

// NewSaved binds a plan to what it was made from.
func NewSaved(version, dir string, d Desired, o Observed, p Plan) Saved {
	return Saved{
		FormatVersion:  FormatVersion,
		TenVersion:     version,
		Dir:            dir,
		Revision:       d.Revision,
		ModelDigest:    modelDigest(d),
		ObservedDigest: observedDigest(o),
		Fingerprint:    Fingerprint(p),
		Plan:           p.Masked(),
	}
}

// Encode writes s as JSON.
func (s Saved) Encode(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	return enc.Encode(s)
}

// Decode reads what Encode wrote. It refuses a file that is too big, of another
// format, incomplete, changed by hand or no saved plan at all.
func Decode(r io.Reader) (Saved, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxSavedSize+1))
	if err != nil {
		return Saved{}, fmt.Errorf("read saved plan: %w", err)
	}
	if len(raw) > MaxSavedSize {
		return Saved{}, fmt.Errorf("saved plan is larger than %d MB; make a new one with ten plan --out", MaxSavedSize>>20)
	}
	var head struct {
		FormatVersion int `json:"format_version"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return Saved{}, fmt.Errorf("not a saved plan: %w", err)
	}
	if head.FormatVersion != FormatVersion {
		return Saved{}, fmt.Errorf("saved plan has format %d and this ten reads %d; make a new one with ten plan --out", head.FormatVersion, FormatVersion)
	}
	var s Saved
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return Saved{}, fmt.Errorf("saved plan: %w", err)
	}
	if dec.More() {
		return Saved{}, errors.New("saved plan: something follows it in the file")
	}
	if s.Fingerprint != Fingerprint(s.Plan) || s.Revision != s.Plan.Revision {
		return Saved{}, errors.New("saved plan was changed after it was made; make a new one with ten plan --out")
	}
	return s, nil
}

// Stale says what has moved since s was saved, as sentences; none = the plan
// may be applied. now is the same plan, made just now.
func (s Saved) Stale(now Saved) []string {
	var out []string
	if s.TenVersion != now.TenVersion {
		out = append(out, fmt.Sprintf("the plan was made by ten %s, and this is ten %s", s.TenVersion, now.TenVersion))
	}
	if s.Fingerprint == now.Fingerprint && s.ModelDigest == now.ModelDigest {
		return out
	}
	out = append(out, Moved(s.Plan, now.Plan)...)
	if s.ModelDigest != now.ModelDigest {
		out = append(out, "the configuration is not the one that the plan was made from")
	}
	if s.ObservedDigest != now.ObservedDigest {
		out = append(out, "what runs on the host is not what ran when the plan was made")
	}
	return out
}

// Fingerprint identifies what a person saw of a plan: the revision, the base and
// every change with its fields and what it acts on. The time, the repair of
// drift (which goes on by itself) and the wording of what blocks are not in it.
// It is the same before and after masking.
func Fingerprint(p Plan) string {
	h := sha256.New()
	fmt.Fprintf(h, "plan-v1 %q %q %q\n", p.Host, p.Revision, p.Base)
	if p.Guard != nil {
		fmt.Fprintf(h, "guard %v\n", p.Guard.Removed)
	}
	for _, line := range seen(p) {
		fmt.Fprintf(h, "%s %s\n", line.name, line.detail)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// sight is one action as a person saw it.
type sight struct{ name, detail string }

func seen(p Plan) []sight {
	var out []sight
	for _, a := range p.Actions {
		if a.Drift {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%q %q old=%v after=%v", a.Reason.Code, a.Reason.Text, a.Old, a.After)
		for _, c := range a.Changes {
			c = c.masked()
			fmt.Fprintf(&b, " %q=%q>%q/%s", c.Path, c.Before, c.After, c.Effect)
		}
		if a.New != nil {
			fmt.Fprintf(&b, " new=%s", a.New)
		}
		if a.Spec != nil {
			fmt.Fprintf(&b, " spec=%q,%q", a.Spec.Level, a.Spec.Digest)
		}
		if a.Blocked != nil {
			fmt.Fprintf(&b, " blocked=%q", a.Blocked.Code)
		}
		out = append(out, sight{a.name(), b.String()})
	}
	return out
}

// name is what an action does to whom: "restart web:prod".
func (a Action) name() string {
	if a.ID == (runtimes.ID{}) {
		return string(a.Op)
	}
	return string(a.Op) + " " + a.ID.String()
}

// Moved says what differs between a plan that a person saw and the one that
// would be applied now, as sentences, in a stable order; none = the same.
func Moved(saved, now Plan) []string {
	var out []string
	differ := func(what, before, after string) {
		if before != after {
			out = append(out, fmt.Sprintf("%s was %s, and is %s now", what, orNone(before), orNone(after)))
		}
	}
	differ("the host", saved.Host, now.Host)
	differ("the revision", saved.Revision, now.Revision)
	differ("the revision applied before", saved.Base, now.Base)
	before, after := sights(saved), sights(now)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		detail, still := after[name]
		switch {
		case !still:
			out = append(out, name+": is not to be done any more")
		case detail != before[name]:
			out = append(out, name+": is not what it was when the plan was made")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, known := before[name]; !known {
			out = append(out, name+": is new")
		}
	}
	if (saved.Guard == nil) != (now.Guard == nil) {
		out = append(out, "whether the removals need a person's word is not as it was")
	}
	return out
}

func sights(p Plan) map[string]string {
	out := map[string]string{}
	for _, line := range seen(p) {
		out[line.name] = line.detail
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// modelDigest is over what was written: two revisions that say the same have
// the same.
func modelDigest(d Desired) string {
	h := sha256.New()
	if d.Model != nil {
		for _, s := range d.Model.Services {
			fmt.Fprintf(h, "%q %q %q\n", s.Name, s.Digest, s.Instances)
		}
		for _, path := range slices.Sorted(maps.Keys(d.Model.Fields)) {
			fmt.Fprintf(h, "%q=%q\n", path, d.Model.Fields[path])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// observedDigest is over what a decision rests on, clock and pids left out.
func observedDigest(o Observed) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", o.Host.Name, o.Applied)
	for _, path := range slices.Sorted(maps.Keys(o.AppliedFields)) {
		fmt.Fprintf(h, "%q=%q\n", path, o.AppliedFields[path])
	}
	for i := range o.Instances {
		in := &o.Instances[i]
		fmt.Fprintf(h, "%s %q %q %v %v\n", in.Spec.Key, in.Spec.Digest, in.Phase, in.Health, in.GateOpen)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
