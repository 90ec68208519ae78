package load

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/tenement/ten/schema"
)

// EvalMain is the whole life of the child process that evaluates a repository's
// CUE: it bounds its own memory and processor time, answers requests from in on
// out until in ends, and returns the exit status. Run it from the first lines
// of main, and only in a process made for it: the limits can't be lifted again.
func EvalMain(in io.Reader, out io.Writer) int {
	if err := limitSelf(evalMemory, evalCPU); err != nil {
		fmt.Fprintln(os.Stderr, "ten eval:", err)
		return 1
	}
	e := &evaluator{ctx: cuecontext.New()}
	requests, replies := json.NewDecoder(in), json.NewEncoder(out)
	requests.UseNumber()
	for {
		var q evalRequest
		if err := requests.Decode(&q); err == io.EOF {
			return 0
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "ten eval: read a request:", err)
			return 1
		}
		if err := replies.Encode(e.answer(q)); err != nil {
			return 1
		}
	}
}

// evaluator holds the repository's CUE, unified with the schema.
type evaluator struct {
	ctx      *cue.Context
	root     cue.Value
	patterns []pattern
	nodes    int // how many nodes the result has so far
}

// pattern is a demand on services by their name: service: [=~"^pub-"]: {...}.
type pattern struct{ name, demand cue.Value }

func (e *evaluator) answer(q evalRequest) evalReply {
	if q.Files != nil {
		return e.load(q.Files)
	}
	return evalReply{Problems: e.police(q.Subjects)}
}

// load builds one package of all the files: what they declare, and what they
// demand of others.
func (e *evaluator) load(files []evalFile) evalReply {
	inst, problems := buildInstance(files)
	if len(problems) > 0 {
		return evalReply{Problems: problems}
	}
	e.root = e.ctx.BuildInstance(inst)
	fields, err := e.root.Fields()
	if err != nil {
		return evalReply{Problems: evalProblems(err)}
	}
	reply := evalReply{Config: &evalNode{Kind: tableNode}}
	for fields.Next() {
		v, name := fields.Value(), fields.Selector().Unquoted()
		if name == "service" {
			e.patterns = patternsOf(v)
		}
		if found := incomplete(v, checkDepth); len(found) > 0 {
			reply.Problems = append(reply.Problems, found...)
			continue
		}
		reply.Config.Fields = append(reply.Config.Fields, e.node(name, v))
	}
	if err := e.root.Err(); err != nil && len(reply.Problems) == 0 {
		return evalReply{Problems: evalProblems(err)}
	}
	if e.nodes > evalNodes {
		return evalReply{Problems: []evalProblem{{Message: fmt.Sprintf("the result has more than %d values", evalNodes)}}}
	}
	if len(reply.Problems) > 0 {
		reply.Config = nil
	}
	reply.Polices = len(e.patterns) > 0 || slices.ContainsFunc(inst.Files, constrains)
	return reply
}

// checkDepth is how deep values are judged one by one: table, service, field.
const checkDepth = 3

// incomplete gives what is wrong with a value, or open in it. Its parts are
// judged alone, since CUE shows nothing that is open beside a conflict.
func incomplete(v cue.Value, depth int) []evalProblem {
	err := v.Validate(cue.Concrete(true))
	if err == nil {
		return nil
	}
	var list []evalProblem
	if it, ferr := v.Fields(); depth > 1 && ferr == nil {
		for it.Next() {
			list = append(list, incomplete(it.Value(), depth-1)...)
		}
	}
	if len(list) == 0 {
		list = evalProblems(err)
	}
	return list
}

// buildInstance parses the files into one package with the schema. Files need
// no package clause. Packages of CUE itself can be imported; nothing else, as
// that would have to be fetched or found.
func buildInstance(files []evalFile) (*build.Instance, []evalProblem) {
	loader := func(pos token.Pos, path string) *build.Instance {
		if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
			return nil // CUE's own
		}
		i := build.NewContext().NewInstance(path, nil)
		i.Err = errors.Newf(pos, "package %s can't be imported: config may use CUE's own packages only", path)
		return i
	}
	inst := build.NewContext().NewInstance("", loader)
	files = append([]evalFile{{Path: schemaName, Data: []byte(schema.CUE)}}, files...)
	var problems []evalProblem
	for _, f := range files {
		syntax, err := parser.ParseFile(f.Path, f.Data, parser.ParseComments)
		if err != nil {
			problems = append(problems, evalProblems(err)...)
			continue
		}
		if syntax.PackageName() == "" {
			syntax.Decls = append([]ast.Decl{&ast.Package{Name: ast.NewIdent(cuePackage)}}, syntax.Decls...)
		}
		if err := inst.AddSyntax(syntax); err != nil {
			problems = append(problems, evalProblems(err)...)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	if err := inst.Complete(); err != nil {
		return nil, evalProblems(err)
	}
	return inst, nil
}

// constrains reports whether a file of the repository adds to a definition of
// the schema.
func constrains(f *ast.File) bool {
	if f.Filename == schemaName {
		return false
	}
	return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
		field, ok := d.(*ast.Field)
		if !ok {
			return false
		}
		name, _, err := ast.LabelName(field.Label)
		return err == nil && strings.HasPrefix(name, "#")
	})
}

func patternsOf(v cue.Value) []pattern {
	it, err := v.Fields(cue.Patterns(true))
	if err != nil {
		return nil
	}
	var list []pattern
	for it.Next() {
		if it.Selector().ConstraintType() == cue.PatternConstraint {
			list = append(list, pattern{name: it.Selector().Pattern(), demand: it.Value()})
		}
	}
	return list
}

// node makes nodes of a value that is concrete.
func (e *evaluator) node(name string, v cue.Value) *evalNode {
	n := &evalNode{Name: name, At: placeOf(v)}
	if e.nodes++; e.nodes > evalNodes {
		return n
	}
	switch v.Kind() {
	case cue.StructKind:
		n.Kind = tableNode
		for it, _ := v.Fields(); it.Next(); {
			n.Fields = append(n.Fields, e.node(it.Selector().Unquoted(), it.Value()))
		}
	case cue.ListKind:
		n.Kind = listNode
		for it, _ := v.List(); it.Next(); {
			n.Items = append(n.Items, e.node("", it.Value()))
		}
	case cue.StringKind:
		n.Kind = stringNode
		n.Text, _ = v.String()
	case cue.BoolKind:
		n.Kind = boolNode
		n.Bool, _ = v.Bool()
		n.Text = fmt.Sprint(n.Bool)
	case cue.IntKind:
		i, err := v.Int64()
		n.Kind, n.Int, n.Text = intNode, i, fmt.Sprint(v)
		if err != nil {
			n.Kind = floatNode // too large for anything a config has
		}
	case cue.NullKind:
		n.Kind = nullNode
	default:
		n.Kind, n.Text = floatNode, fmt.Sprint(v)
	}
	return n
}

// placeOf is where a value was written; of several places one.
func placeOf(v cue.Value) evalPlace {
	if f, ok := v.Source().(*ast.Field); ok {
		return evalPlace{
			File: f.Label.Pos().Filename(),
			Key:  span{f.Label.Pos().Offset(), f.Label.End().Offset()},
			Val:  span{f.Value.Pos().Offset(), f.Value.End().Offset()},
		}
	}
	return placeAt(v.Pos())
}

func placeAt(p token.Pos) evalPlace {
	at := span{p.Offset(), p.Offset() + 1}
	return evalPlace{File: p.Filename(), Key: at, Val: at}
}

// evalProblems lists the errors in an error, one a place in the result.
func evalProblems(err error) []evalProblem {
	var list []evalProblem
	seen := make(map[string]bool)
	for _, e := range errors.Errors(err) {
		key := strings.Join(e.Path(), "\x00")
		if seen[key] && key != "" {
			continue
		}
		seen[key] = true
		list = append(list, evalProblem{Path: labels(e.Path()), Message: message(e), Places: places(e)})
	}
	return list
}

// message is the text of an error and of what caused it, without paths.
func message(e errors.Error) string {
	format, args := e.Msg()
	text := fmt.Sprintf(format, args...)
	if cause, ok := errors.Unwrap(e).(errors.Error); ok {
		text += ": " + message(cause)
	}
	return text
}

// places are the positions of an error in the repository's own files.
func places(e errors.Error) []evalPlace {
	var list []evalPlace
	for _, p := range errors.Positions(e) {
		if p.Filename() != schemaName && p.Filename() != "" {
			list = append(list, placeAt(p))
		}
	}
	return list
}
