package plan

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tenement/ten/runtimes"
)

// TextOptions say how much of a plan Text shows, and what only the caller knows.
type TextOptions struct {
	Color   bool
	Full    bool          // every field, every instance
	Summary bool          // the lines only, no fields
	Next    string        // the exact next command, if there is one
	Took    time.Duration // 0 = not shown
}

// widest is how far a column is stretched to align what follows it.
const widest = 72

// screenful is how many lines a section has at most without Full.
const screenful = 40

// Text writes the plan for people. It reads the same without colour. Equal plans
// and options give equal bytes; secrets are masked.
func (p Plan) Text(w io.Writer, opt TextOptions) error {
	t := &text{w: bufio.NewWriter(w), opt: opt}
	p = p.Masked()
	t.header(p)
	var drift, changes, blocked []Action
	for _, a := range p.Actions {
		switch {
		case a.Blocked != nil:
			blocked = append(blocked, a)
		case a.Drift:
			drift = append(drift, a)
		default:
			changes = append(changes, a)
		}
	}
	since := "what was applied"
	if p.Base != "" {
		since = short(p.Base)
	}
	t.section("Drift - the world moved since "+since+", and is put right:", drift)
	t.section("Changes:", changes)
	t.blocked(blocked)
	t.byHand(p.ByHand)
	t.footer(p)
	return t.w.Flush()
}

type text struct {
	w   *bufio.Writer
	opt TextOptions
}

func (t *text) printf(format string, args ...any) { fmt.Fprintf(t.w, format, args...) }

// The colours, by what they say.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
)

func (t *text) paint(color, s string) string {
	if !t.opt.Color || s == "" || color == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func colorOf(a Action) string {
	switch {
	case a.Op == OpRemove || a.Op == OpReplace || a.Op == OpStop:
		return red
	case a.Op == OpCreate:
		return green
	case a.Op == OpCleanup:
		return dim
	}
	return yellow
}

func (t *text) header(p Plan) {
	t.printf("%s  host %s  %s", t.paint(bold, "ten plan"), p.Host, t.paint(bold, short(p.Revision)))
	if p.Subject != "" {
		t.printf(" %q", p.Subject)
	}
	if p.Dirty {
		t.printf(" (not committed)")
	}
	if p.Signer != "" {
		t.printf(" (signed: %s)", p.Signer)
	}
	switch {
	case p.Base == "":
		t.printf("  nothing applied before")
	case p.Base == p.Revision:
		t.printf("  applied")
	case p.Ahead == 1:
		t.printf("  1 commit ahead of applied %s", short(p.Base))
	case p.Ahead > 1:
		t.printf("  %d commits ahead of applied %s", p.Ahead, short(p.Base))
	default:
		t.printf("  applied is %s", short(p.Base))
	}
	t.printf("\n\n")
}

func (t *text) section(title string, actions []Action) {
	if len(actions) == 0 {
		return
	}
	t.printf("%s\n", t.paint(bold, title))
	t.groups(actions, "  ")
	t.printf("\n")
}

// groups writes one block for each group, subjects and verbs aligned.
func (t *text) groups(actions []Action, indent string) {
	all := groups(actions)
	shown := all
	if !t.opt.Full && len(shown) > screenful {
		shown = shown[:screenful]
	}
	width := 0
	for _, g := range shown {
		width = max(width, len(g.subject()))
	}
	for _, g := range shown {
		t.group(g, indent, min(width, 40))
	}
	if rest := len(all) - len(shown); rest > 0 {
		t.printf("%s    and %d more (--full lists all)\n", indent, rest)
	}
}

func (t *text) group(g group, indent string, width int) {
	a := g.first
	line := fmt.Sprintf("%-*s  %s", width, g.subject(), a.verb())
	for _, note := range []string{after(a.After), notBefore(a)} {
		if note != "" {
			line += ", " + note
		}
	}
	t.printf("%s%s %s\n", indent, t.paint(colorOf(a), fmt.Sprintf("%-3s", a.symbol())), line)
	below := indent + "      "
	t.printf("%s%s\n", below, t.paint(dim, "# "+a.Reason.Text))
	if t.opt.Full && len(g.ids) > 1 {
		ids := make([]string, len(g.ids))
		for i, id := range g.ids {
			ids[i] = id.Instance
		}
		t.printf("%sinstances: %s\n", below, strings.Join(ids, ", "))
	}
	if !t.opt.Summary {
		t.fields(a, below)
	}
}

func notBefore(a Action) string {
	if a.NotBefore.IsZero() {
		return ""
	}
	return "not before " + a.NotBefore.UTC().Format("15:04:05") + " UTC"
}

// fields writes what differs. A single field that the reason has said already
// is not said twice, and of a new instance all fields are new.
func (t *text) fields(a Action, indent string) {
	changes := a.Changes
	if t.opt.Full && len(changes) == 0 && a.Op == OpCreate && a.Spec != nil {
		changes, _ = diff(nil, a.Spec.Fields)
		for i := range changes {
			changes[i].Decides = false // that it is new does
		}
	}
	if len(changes) == 0 || len(changes) == 1 && !t.opt.Full && a.Reason.Code == "changed" && len(changes[0].After) <= clipAt {
		return
	}
	path, value := 0, 0
	for _, c := range changes {
		path = max(path, len(c.Path))
		if c.Decides {
			value = max(value, len(t.value(c)))
		}
	}
	for _, c := range changes {
		line := fmt.Sprintf("%s %-*s  %s", changeSymbol(c), path, c.Path, t.value(c))
		if c.Decides && c.Effect.rank() >= EffectRestart.rank() {
			line += strings.Repeat(" ", max(0, min(value, widest)-len(t.value(c)))) + t.paint(red, "  # forces "+string(a.Op))
		}
		t.printf("%s%s\n", indent, line)
	}
	if a.Spec != nil && a.Op != OpCreate {
		if same := unchanged(a); same > 0 {
			t.printf("%s  %s\n", indent, t.paint(dim, fmt.Sprintf("(%s hidden)", count(same, "unchanged field"))))
		}
	}
}

// unchanged counts the fields that an action's changes don't name.
func unchanged(a Action) int {
	n := len(a.Spec.Fields)
	for _, c := range a.Changes {
		if _, ok := a.Spec.Fields[c.Path]; ok {
			n--
		}
	}
	return n
}

func changeSymbol(c Change) string {
	switch {
	case c.Before == "":
		return "+"
	case c.After == "":
		return "-"
	}
	return "~"
}

func (t *text) value(c Change) string {
	show := func(v string) string { return clipTo(v, clipPairAt) }
	switch {
	case t.opt.Full:
		show = func(v string) string { return v }
	case c.Path == "source.tree":
		show = shortTree
	}
	switch {
	case c.Before == "" && !t.opt.Full:
		return clip(c.After)
	case c.After == "" && !t.opt.Full:
		return clip(c.Before)
	case c.Before == "" || c.After == "":
		return c.Before + c.After
	}
	return show(c.Before) + " -> " + show(c.After)
}

// blocked writes each obstacle once, with what waits for it and the way out.
func (t *text) blocked(actions []Action) {
	if len(actions) == 0 {
		return
	}
	t.printf("%s\n", t.paint(bold, "Blocked:"))
	var order []Block
	by := map[Block][]Action{}
	for _, a := range actions {
		b := *a.Blocked
		if by[b] == nil {
			order = append(order, b)
		}
		by[b] = append(by[b], a)
	}
	for _, b := range order {
		t.printf("  %s %s\n", t.paint(red, "x"), b.Text)
		t.groups(by[b], "      ")
		if b.Hint != "" {
			t.printf("      hint: %s\n", b.Hint)
		}
	}
	t.printf("\n")
}

// byHand writes what stands beside the repository, with who said so and when.
func (t *text) byHand(hands []Hand) {
	if len(hands) == 0 {
		return
	}
	t.printf("%s\n", t.paint(bold, "By hand, beside what the repository says:"))
	for i, h := range hands {
		if i == screenful && !t.opt.Full {
			t.printf("    ... and %d more\n", len(hands)-i)
			break
		}
		t.printf("    %s, by %s on %s\n", h, h.By, h.At.UTC().Format("2006-01-02 15:04 UTC"))
	}
	t.printf("\n")
}

func (t *text) footer(p Plan) {
	if p.Empty() {
		t.printf("Nothing to change: host %s runs what %s asks for, %s.", p.Host, short(p.Revision), count(p.Summary.Unchanged, "instance"))
	} else {
		if w := waves(p); len(w) > 1 {
			parts := make([]string, len(w))
			for i, names := range w {
				parts[i] = list(names, 6)
			}
			t.printf("Order: %s\n", strings.Join(parts, " -> "))
		}
		t.printf("Plan: %s.", p.Summary)
	}
	if t.opt.Took > 0 {
		t.printf("   %.2f s", t.opt.Took.Seconds())
	}
	t.printf("\n")
	if t.opt.Next != "" {
		t.printf("%s\n", t.opt.Next)
	}
	if first := firstSubject(p); first != "" && !t.opt.Summary {
		t.printf("Why a line: ten why %s\n", first)
	}
}

func firstSubject(p Plan) string {
	for _, a := range p.Actions {
		if a.ID != (runtimes.ID{}) {
			return a.ID.Service
		}
	}
	return ""
}

// String gives the counts: "1 to create, 2 to restart, 34 unchanged".
func (s Summary) String() string {
	var parts []string
	for _, c := range []struct {
		n    int
		what string
	}{
		{s.Create, "to create"}, {s.Start, "to start again"}, {s.Update, "to update in place"},
		{s.Reload, "to reload"}, {s.Restart, "to restart"}, {s.Replace, "to replace"},
		{s.Remove, "to remove"}, {s.Cleanup, "to clean up"}, {s.Sleep, "to put to sleep"}, {s.Wake, "to wake"}, {s.Blocked, "blocked"},
	} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("%d unchanged", s.Unchanged)), ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// short gives the usual seven digits of a commit, or the name of a working tree.
func short(revision string) string {
	if len(revision) == 40 {
		return revision[:7]
	}
	return revision
}
