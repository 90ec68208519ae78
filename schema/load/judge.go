package load

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"

	"github.com/tenement/ten/schema"
)

// schemaName is the file name of tenement.cue in CUE's errors: no file of a
// repository can be called that.
const schemaName = "<tenement.cue>"

// judge holds the compiled schema. It lives for one load: a CUE context only
// ever grows, and compiling the schema takes about a millisecond.
type judge struct {
	ctx  *cue.Context
	root cue.Value
	slum cue.Value            // slum.cue, with root's names in scope
	defs map[string]cue.Value // by name, for Go looks them up thousands of times
}

func newJudge() (*judge, error) {
	ctx := cuecontext.New()
	root := ctx.CompileString(schema.CUE, cue.Filename(schemaName))
	if err := root.Err(); err != nil {
		return nil, fmt.Errorf("compile the schema: %s", errors.Details(err, nil))
	}
	slum := ctx.CompileString(schema.SlumCUE, cue.Filename("<slum.cue>"), cue.Scope(root))
	if err := slum.Err(); err != nil {
		return nil, fmt.Errorf("compile the schema of slum.toml: %s", errors.Details(err, nil))
	}
	return &judge{ctx: ctx, root: root, slum: slum, defs: make(map[string]cue.Value)}, nil
}

// definition is a definition of the schema: "#Service".
func (j *judge) definition(name string) cue.Value {
	v, ok := j.defs[name]
	if !ok {
		path := cue.ParsePath(name)
		if v = j.root.LookupPath(path); !v.Exists() {
			v = j.slum.LookupPath(path)
		}
		j.defs[name] = v
	}
	return v
}

// good reports whether CUE accepts a table, asking it only about what it never
// accepted before.
func (r *run) good(def string, v schema.Values) (bool, error) {
	key := r.loader.accepted.key(def, v)
	if r.loader.accepted.has(key) {
		return true, nil
	}
	if err := r.ctx.Err(); err != nil {
		return false, err
	}
	j, err := r.compiled()
	if err != nil {
		return false, err
	}
	head, rest := split(v)
	ok := j.definition(def).Unify(j.ctx.Encode(head)).Validate(cue.Concrete(true)) == nil
	for _, part := range rest {
		ok = ok && j.field(def, part.field, false).Unify(j.ctx.Encode(part.value)).Validate(cue.Concrete(true)) == nil
	}
	if ok {
		r.loader.accepted.add(key)
	}
	return ok, nil
}

// maxAtOnce is how many entries of a list or table CUE is shown at once: the
// time it takes grows with their square.
const maxAtOnce = 250

// piece is a part of a long list or table, which begins at an index.
type piece struct {
	field string
	first int
	value any
}

// split cuts what is too long out of a table.
func split(v schema.Values) (head map[string]any, rest []piece) {
	head = maps.Clone(map[string]any(v))
	for field, value := range head {
		if judgedByGo(field, value) {
			delete(head, field)
			continue
		}
		if parts := pieces(field, value); len(parts) > 1 {
			head[field] = parts[0].value
			rest = append(rest, parts[1:]...)
		}
	}
	return head, rest
}

// judgedByGo spares CUE long lists about which it can say nothing new: that
// arguments are strings, and ids well formed, Go knows as well.
func judgedByGo(field string, v any) bool {
	list, ok := v.([]any)
	if !ok || len(list) <= maxAtOnce || field != "args" && field != "instances" {
		return false
	}
	return field == "args" || !slices.ContainsFunc(list, func(id any) bool { return !schema.ValidInstanceID(id.(string)) })
}

// pieces cuts a list or table; anything else is one piece.
func pieces(field string, v any) []piece {
	switch t := v.(type) {
	case []any:
		if len(t) <= maxAtOnce {
			break
		}
		var list []piece
		for first := 0; first < len(t); first += maxAtOnce {
			list = append(list, piece{field, first, t[first:min(first+maxAtOnce, len(t))]})
		}
		return list
	case map[string]any:
		if len(t) <= maxAtOnce {
			break
		}
		var list []piece
		for keys := range slices.Chunk(slices.Sorted(maps.Keys(t)), maxAtOnce) {
			part := make(map[string]any, len(keys))
			for _, key := range keys {
				part[key] = t[key]
			}
			list = append(list, piece{field: field, value: part})
		}
		return list
	}
	return []piece{{field: field, value: v}}
}

func (r *run) compiled() (*judge, error) {
	if r.judge == nil {
		j, err := newJudge()
		if err != nil {
			return nil, err
		}
		r.judge = j
	}
	return r.judge, nil
}

// faults says what CUE has against one field's value, one fault a place.
func (r *run) faults(def string, f *schema.Field, v any) []fault {
	j, err := r.compiled()
	if err != nil {
		return []fault{{code: "invalid-value", message: err.Error()}}
	}
	constraint := j.field(def, f.Name, f.Required)
	depth := len(constraint.Path().Selectors())
	var list []fault
	seen := make(map[string]bool)
	for _, part := range pieces(f.Name, v) {
		if len(list) >= maxProblems {
			break
		}
		verr := constraint.Unify(j.ctx.Encode(part.value)).Validate(cue.Concrete(true))
		for _, e := range errors.Errors(verr) {
			path := e.Path()
			path = part.labels(path[min(depth, len(path)):])
			if at := strings.Join(path, "\x00"); !seen[at] {
				seen[at] = true
				list = append(list, describe(f, path, v, e))
			}
		}
	}
	return list
}

// field is the constraint on one field of a definition.
func (j *judge) field(def, name string, required bool) cue.Value {
	selector := cue.Str(name).Optional()
	if required {
		selector = cue.Str(name).Required()
	}
	return j.definition(def).LookupPath(cue.MakePath(selector))
}

// labels are the steps of a path within the whole value.
func (p piece) labels(path []string) []string {
	path = labels(path)
	if len(path) > 0 && p.first > 0 {
		if i, err := strconv.Atoi(path[0]); err == nil {
			path[0] = strconv.Itoa(p.first + i)
		}
	}
	return path
}

// labels are the steps of a path in CUE as plain text.
func labels(path []string) []string {
	out := make([]string, len(path))
	for i, step := range path {
		out[i] = step
		if text, err := strconv.Unquote(step); err == nil {
			out[i] = text
		}
	}
	return out
}

// fault is what is wrong with a value, or with a part of it.
type fault struct {
	path    []string // of the part, within the value
	key     bool     // the part's name is wrong, not its value
	code    string
	message string
	hint    string
}

// problem places a fault that concerns the value of a node.
func (f fault) problem(n *node, where string) schema.Problem {
	for _, step := range f.path {
		if n.kind == listNode {
			where += "[" + step + "]"
		} else {
			where = joinPath(where, step)
		}
		n = n.find(step)
	}
	p := n.atValue(f.code, where, f.message)
	if f.key {
		p = n.atKey(f.code, where, f.message)
	}
	p.Hint = f.hint
	return p
}

// describe puts an error of CUE in words.
func describe(f *schema.Field, path []string, value any, e errors.Error) fault {
	got := part(value, path)
	shown := schema.Canonical(got)
	format, args := e.Msg()
	if len(f.Enum) > 0 {
		return choiceFault(f, path, got, shown)
	}
	if format == "field not allowed" {
		name := path[len(path)-1]
		return fault{path: path, key: true, code: "invalid-name", message: fmt.Sprintf("%q is not %s", name, f.WantsKey), hint: nameHintFor(f.WantsKey, name)}
	}
	if len(args) == 2 && strings.Contains(format, "out of bound") {
		switch bound := fmt.Sprint(args[1]); {
		case strings.HasPrefix(bound, ">="):
			return fault{path: path, code: "out-of-range", message: fmt.Sprintf("%s is below the minimum %s", shown, bound[2:])}
		case strings.HasPrefix(bound, "<="):
			return fault{path: path, code: "out-of-range", message: fmt.Sprintf("%s is above the maximum %s", shown, bound[2:])}
		case strings.HasPrefix(bound, "=~") && f.Wants != "":
			return fault{path: path, code: "invalid-value", message: fmt.Sprintf("%s is not %s", shown, f.Wants), hint: nameHintFor(f.Wants, fmt.Sprint(got))}
		}
	}
	return fault{path: path, code: "invalid-value", message: fmt.Sprintf("%s does not fit: %s", shown, fmt.Sprintf(format, args...))}
}

func choiceFault(f *schema.Field, path []string, got any, shown string) fault {
	quoted := make([]string, len(f.Enum))
	for i, choice := range f.Enum {
		quoted[i] = fmt.Sprintf("%q", choice)
	}
	fa := fault{path: path, code: "invalid-choice", message: fmt.Sprintf("%s is not one of %s", shown, strings.Join(quoted, ", "))}
	text, _ := got.(string)
	if near := nearestChoice(text, f.Enum); near != "" {
		fa.hint = fmt.Sprintf("did you mean %q?", near)
	}
	if canonical(f) == "isolation" {
		if hint := isolationHint(text); hint != "" {
			fa.hint = hint
		}
	}
	return fa
}

// nameHintFor offers a legal name where one is wanted.
func nameHintFor(wants, name string) string {
	switch wants {
	case wantsName():
		return nameHint(name)
	case wantsID():
		return idHint(name)
	}
	return ""
}

// part follows a path into a value.
func part(v any, path []string) any {
	for _, step := range path {
		switch t := v.(type) {
		case map[string]any:
			v = t[step]
		case []any:
			i := 0
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(t) {
				return v
			}
			v = t[i]
		}
	}
	return v
}
