package plan

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxMarkdown keeps a comment below what code hosts accept (65,536 bytes).
const maxMarkdown = 60_000

// Markdown writes the plan as a comment for a pull request: the counts, then
// what a reviewer must not miss, then the plan itself, folded. Nothing that a
// config holds can break out of it. Equal plans give equal bytes; secrets are
// masked.
func (p Plan) Markdown(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "### ten plan: %s at %s\n\n", code(p.Host), code(short(p.Revision)))
	if p.Empty() {
		fmt.Fprintf(&b, "Nothing to change, %s.\n", count(p.Summary.Unchanged, "instance"))
		_, err := w.Write(b.Bytes())
		return err
	}
	fmt.Fprintf(&b, "%s.\n\n", p.Summary)
	if p.Guard != nil {
		fmt.Fprintf(&b, "- **Waits for a person**: removes %d of %d instances, more than %d\n", len(p.Guard.Removed), p.Guard.Declared, p.Guard.Limit)
	}
	p.callout(&b, "Gap in service", func(a Action) bool { return a.Op == OpReplace && a.Blocked == nil })
	p.callout(&b, "Removed", func(a Action) bool { return a.Op == OpRemove && a.Blocked == nil })
	p.callout(&b, "Blocked", func(a Action) bool { return a.Blocked != nil && a.Blocked.Code != BlockGuard })
	var text bytes.Buffer
	if err := p.Text(&text, TextOptions{}); err != nil {
		return err
	}
	body := cutLines(text.Bytes(), maxMarkdown-b.Len())
	fence := fenceFor(body)
	fmt.Fprintf(&b, "\n<details><summary>The plan</summary>\n\n%stext\n%s%s\n\n</details>\n", fence, body, fence)
	_, err := w.Write(b.Bytes())
	return err
}

// callout is one line on the actions that a test picks, with the first few named.
func (p Plan) callout(b *bytes.Buffer, title string, pick func(Action) bool) {
	var picked []Action
	for _, a := range p.Actions {
		if pick(a) {
			picked = append(picked, a)
		}
	}
	all := groups(picked)
	if len(all) == 0 {
		return
	}
	var names []string
	for _, g := range all {
		name := code(g.subject())
		if g.first.Blocked != nil {
			name += " (" + code(clip(g.first.Blocked.Text)) + ")"
		}
		names = append(names, name)
	}
	fmt.Fprintf(b, "- **%s**: %s\n", title, list(names, 10))
}

// code makes a code span that its content can't close.
func code(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	ticks := fence(s, 1)
	if len(ticks) > 1 {
		return ticks + " " + s + " " + ticks
	}
	return ticks + s + ticks
}

func fenceFor(body []byte) string { return fence(string(body), 3) }

// fence is a run of backticks longer than any in s.
func fence(s string, least int) string {
	longest, run := 0, 0
	for _, c := range []byte(s) {
		if c != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return strings.Repeat("`", max(least, longest+1))
}

// cutLines keeps whole lines up to a size, and says when it left some out.
func cutLines(body []byte, most int) []byte {
	if len(body) <= most {
		return body
	}
	cut := body[:max(0, most)]
	if i := bytes.LastIndexByte(cut, '\n'); i >= 0 {
		cut = cut[:i+1]
	} else {
		cut = nil
	}
	if !utf8.Valid(cut) {
		cut = bytes.ToValidUTF8(cut, []byte("?"))
	}
	return append(bytes.Clone(cut), "... the rest is left out here; run ten plan to see it\n"...)
}
