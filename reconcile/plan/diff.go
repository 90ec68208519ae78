package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tenement/ten/schema"
)

// diff lists the fields that differ, sorted by path, and the greatest effect
// among them. The changes with that effect decide.
func diff(before, after map[string]string) ([]Change, Effect) {
	var changes []Change
	for path, b := range before {
		if a := after[path]; a != b {
			changes = append(changes, newChange(path, b, a))
		}
	}
	for path, a := range after {
		if _, ok := before[path]; !ok && a != "" {
			changes = append(changes, newChange(path, "", a))
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return changes, decide(changes)
}

// diffInstance is diff for an incarnation of a service. A level that was not
// written is shown by its name, and writing down the level that it runs at
// anyway, or taking that away, moves nothing.
func diffInstance(i *Instance, s *schema.Service) ([]Change, Effect) {
	changes, effect := diff(i.Spec.Fields, s.Fields)
	at := slices.IndexFunc(changes, func(c Change) bool { return c.Path == "isolation" })
	if at < 0 {
		return changes, effect
	}
	c := &changes[at]
	if string(i.Spec.Level) == string(s.Isolation) {
		c.Effect = EffectLive
	} else {
		c.Before, c.After = strconv.Quote(string(i.Spec.Level)), strconv.Quote(string(s.Isolation))
	}
	return changes, decide(changes)
}

// decide marks the changes that have the greatest effect, and returns it.
func decide(changes []Change) Effect {
	most := EffectNone
	for _, c := range changes {
		if c.Effect.rank() > most.rank() {
			most = c.Effect
		}
	}
	for i := range changes {
		changes[i].Decides = most != EffectNone && changes[i].Effect == most
	}
	return most
}

func newChange(path, before, after string) Change {
	return Change{
		Path: path, Before: before, After: after, Effect: EffectOf(path),
		Sensitive: sensitive(path, before) || sensitive(path, after),
	}
}

// sensitive guesses whether a variable holds a secret: by its name, or because
// its value is a URL with a password in it. It errs on the side of hiding: a
// hidden value costs a look into git, a shown one a key.
func sensitive(path, value string) bool {
	name, ok := strings.CutPrefix(path, "env.")
	if !ok {
		return false
	}
	name = strings.ToUpper(name)
	for _, word := range []string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "KEY", "CREDENTIAL", "PRIVATE", "DATABASE_URL"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return strings.HasSuffix(name, "PASS") || strings.HasSuffix(name, "DSN") || hasPassword(value)
}

// hasPassword finds user:password@ in a URL.
func hasPassword(value string) bool {
	_, rest, ok := strings.Cut(value, "://")
	if !ok {
		return false
	}
	user, _, ok := strings.Cut(rest, "@")
	return ok && strings.Contains(user, ":") && !strings.ContainsAny(user, "/?# ")
}

// reasonOf says in words what the first deciding change is.
func reasonOf(changes []Change) Reason {
	i := slices.IndexFunc(changes, func(c Change) bool { return c.Decides })
	if i < 0 {
		return Reason{Code: "changed", Text: "changed"}
	}
	return Reason{Code: "changed", Text: changes[i].text()}
}

// text says a change as a clause: `env.LOG changed: "debug" -> "info"`.
func (c Change) text() string {
	switch {
	case c.Path == "source.tree":
		return fmt.Sprintf("source changed: tree %s -> %s", shortTree(c.Before), shortTree(c.After))
	case c.Sensitive && c.Before == "":
		return c.Path + " added (value hidden)"
	case c.Sensitive && c.After != "":
		return c.Path + " changed (value hidden)"
	case c.Before == "":
		return fmt.Sprintf("%s added: %s", c.Path, clip(c.After))
	case c.After == "":
		return c.Path + " removed"
	}
	return fmt.Sprintf("%s changed: %s -> %s", c.Path, clip(c.Before), clip(c.After))
}

// shortTree gives the first digits of a tree id in canonical JSON.
func shortTree(v string) string {
	if s, err := strconv.Unquote(v); err == nil {
		v = s
	}
	switch {
	case v == "":
		return "none"
	case len(v) > 7:
		return v[:7]
	}
	return v
}

// How long a value is at most, in bytes, in a sentence and on either side of an
// arrow in a list of fields.
const (
	clipAt     = 60
	clipPairAt = 32
)

// clip keeps a value short enough for a sentence, at a rune's border.
func clip(v string) string { return clipTo(v, clipAt) }

func clipTo(v string, most int) string {
	if len(v) <= most {
		return v
	}
	cut := most
	for cut > 0 && v[cut]&0xC0 == 0x80 {
		cut--
	}
	return v[:cut] + "..."
}
