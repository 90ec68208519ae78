package load

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"

	"github.com/tenement/ten/schema"
)

// maxRounds bounds how often one subject is judged again to find what an
// earlier fault hid.
const maxRounds = 8

// police judges subjects by the repository's policy.
func (e *evaluator) police(subjects []evalSubject) []evalProblem {
	var list []evalProblem
	for i, s := range subjects {
		for _, p := range e.judge(s) {
			p.Subject = i
			list = append(list, p)
		}
	}
	return list
}

// judge finds all that the policy has against one subject. CUE shows conflicts
// before what is missing; so a field in conflict is taken out and the rest is
// judged again.
func (e *evaluator) judge(s evalSubject) []evalProblem {
	value := plain(s.Value).(map[string]any)
	var list []evalProblem
	blamed := make(map[string]bool)
	for range maxRounds {
		found := e.judgeOnce(s, value, blamed)
		if len(found) == 0 {
			break
		}
		for _, p := range found {
			blamed[strings.Join(p.Path, "\x00")] = true
			list = append(list, p)
			remove(value, p.Path)
		}
	}
	return list
}

func (e *evaluator) judgeOnce(s evalSubject, value map[string]any, blamed map[string]bool) []evalProblem {
	result, depth := e.unify(s, value)
	groups := make(map[string][]errors.Error)
	var order []string
	for _, err := range errors.Errors(result.Validate(cue.Concrete(true))) {
		path := err.Path()
		key := strings.Join(labels(path[min(depth, len(path)):]), "\x00")
		if blamed[key] {
			continue
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], err)
	}
	var list []evalProblem
	for _, key := range order {
		var path []string
		if key != "" {
			path = strings.Split(key, "\x00")
		}
		if key == "" {
			path = e.culprit(s, value, nil)
		}
		list = append(list, violation(result, path, value, groups[key]))
	}
	if len(list) == 0 {
		list = demanded(result, value, nil, blamed)
	}
	return list
}

// unify gives a subject with everything that the repository says of it, and how
// long the path to it is.
func (e *evaluator) unify(s evalSubject, value map[string]any) (cue.Value, int) {
	definition := map[string]string{"service": "#Service", "settings": "#Settings", "routing": "#Routing"}[s.Table]
	result := e.root.LookupPath(cue.ParsePath(definition)).Unify(e.ctx.Encode(value))
	if s.Table != "service" {
		return result, 1
	}
	name := e.ctx.Encode(s.Name)
	for _, p := range e.patterns {
		if p.name.Unify(name).Validate(cue.Concrete(true)) == nil {
			result = result.Unify(p.demand)
		}
	}
	return result, 1
}

// culprit finds the field without which a subject as a whole is no error any
// more: a policy can forbid one, and CUE blames the whole for it.
func (e *evaluator) culprit(s evalSubject, value map[string]any, path []string) []string {
	table, _ := at(value, path)
	fields, _ := table.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		here := append(slices.Clone(path), name)
		without := plain(value).(map[string]any)
		remove(without, here)
		if result, _ := e.unify(s, without); result.Err() != nil {
			continue
		}
		if _, nested := fields[name].(map[string]any); nested {
			if deeper := e.culprit(s, value, here); deeper != nil {
				return deeper
			}
		}
		return here
	}
	return nil
}

// violation puts what CUE says of one place in words.
func violation(result cue.Value, path []string, value map[string]any, errs []errors.Error) evalProblem {
	p := evalProblem{Path: path}
	for _, e := range errs {
		for _, at := range places(e) {
			if !slices.Contains(p.Places, at) {
				p.Places = append(p.Places, at)
			}
		}
	}
	if len(p.Places) == 0 {
		p.Places = valuePlaces(result.LookupPath(pathOf(path)))
	}
	if got, there := at(value, path); there {
		p.Got = schema.Canonical(got)
	}
	format, args := errs[0].Msg()
	var wanted []string
	for _, e := range errs {
		_, conflict := e.Msg()
		for _, a := range conflict {
			if text := fmt.Sprint(a); len(conflict) == 2 && text != p.Got && !slices.Contains(wanted, text) {
				wanted = append(wanted, text)
			}
		}
	}
	p.Wrong = wrong(format, args, wanted)
	if strings.HasPrefix(format, "incomplete value") {
		p.Wrong = "must be written: want " + demand(result.LookupPath(pathOf(path)))
	}
	if p.Wrong == "" {
		p.Message = message(errs[0])
	}
	return p
}

func wrong(format string, args []any, wanted []string) string {
	switch {
	case strings.Contains(format, "out of bound") && len(args) == 2:
		bound := fmt.Sprint(args[1])
		switch {
		case strings.HasPrefix(bound, ">="):
			return "is below the minimum " + bound[2:]
		case strings.HasPrefix(bound, "<="):
			return "is above the maximum " + bound[2:]
		}
		return "does not satisfy " + bound
	case strings.Contains(format, "does not satisfy") && len(args) == 2:
		return fmt.Sprintf("does not satisfy %v", args[1])
	case strings.Contains(format, "empty disjunction"):
		return "is not one of " + strings.Join(wanted, ", ")
	case strings.HasPrefix(format, "conflicting values") && len(wanted) > 0:
		return "is not " + wanted[0]
	case strings.Contains(format, "required but not present"):
		return "must be written"
	case strings.Contains(format, "not allowed"), strings.HasPrefix(format, "explicit error"):
		return "must not be written"
	}
	return ""
}

// demanded finds values that the policy sets and the subject does not have: a
// policy can only ask for them, what runs is what the subject says.
func demanded(v cue.Value, value map[string]any, path []string, blamed map[string]bool) []evalProblem {
	var list []evalProblem
	it, err := v.Fields()
	if err != nil {
		return nil
	}
	for it.Next() {
		name := it.Selector().Unquoted()
		here := append(slices.Clone(path), name)
		if blamed[strings.Join(here, "\x00")] {
			continue
		}
		got, there := value[name]
		if !there && it.Value().IncompleteKind() == cue.StructKind {
			got, there = map[string]any{}, true // what it demands are its fields
		}
		if !there {
			list = append(list, evalProblem{
				Path: here, Wrong: "must be written: want " + demand(it.Value()), Places: valuePlaces(it.Value()),
			})
			continue
		}
		if table, ok := got.(map[string]any); ok {
			list = append(list, demanded(it.Value(), table, here, blamed)...)
		}
	}
	return list
}

// pathOf is a path in CUE's form, as far as it leads through tables.
func pathOf(path []string) cue.Path {
	selectors := make([]cue.Selector, len(path))
	for i, step := range path {
		selectors[i] = cue.Str(step)
	}
	return cue.MakePath(selectors...)
}

// demand is what the repository's files say of a value, without what the schema
// says anyway.
func demand(v cue.Value) string {
	op, parts := v.Expr()
	if op != cue.AndOp {
		return fmt.Sprint(v)
	}
	var own []string
	for _, part := range parts {
		if len(valuePlaces(part)) > 0 {
			own = append(own, demand(part))
		}
	}
	if len(own) == 0 {
		return fmt.Sprint(v)
	}
	return strings.Join(own, " & ")
}

// valuePlaces is where the repository's files say something of a value.
func valuePlaces(v cue.Value) []evalPlace {
	if at := placeOf(v); at.File != schemaName && at.File != "" {
		return []evalPlace{at}
	}
	var list []evalPlace
	if op, parts := v.Expr(); op == cue.AndOp || op == cue.OrOp {
		for _, part := range parts {
			list = append(list, valuePlaces(part)...)
		}
	}
	return list
}

// at follows a path of keys; there is false where it leads nowhere.
func at(v map[string]any, path []string) (got any, there bool) {
	got = v
	for _, step := range path {
		table, ok := got.(map[string]any)
		if !ok {
			return part(got, []string{step}), true
		}
		if got, ok = table[step]; !ok {
			return nil, false
		}
	}
	return got, true
}

// remove takes out the field that a path leads to, or the list it leads into.
func remove(v map[string]any, path []string) {
	for i, step := range path {
		next, isTable := v[step].(map[string]any)
		if i == len(path)-1 || !isTable {
			delete(v, step)
			return
		}
		v = next
	}
}

// plain turns decoded JSON into what CUE takes as whole numbers.
func plain(v any) any {
	switch t := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(t))
		for key, item := range t {
			out[key] = plain(item)
		}
		return out
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			out[i] = plain(item)
		}
		return out
	case json.Number:
		n, err := t.Int64()
		if err != nil {
			return t.String()
		}
		return n
	}
	return v
}
