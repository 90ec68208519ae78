package load

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// cueUnit is the key of the unit that all CUE files make together.
const cueUnit = "*.cue"

// cueReply is what the child said of the CUE files, kept as it came: nodes are
// made of it when they are needed.
type cueReply struct {
	refs    []ref
	config  json.RawMessage
	polices bool
	key     string // names the files and their content
}

// evaluate reads the CUE files in a child process, or takes what is remembered;
// nil when there are none or they are at fault.
func (r *run) evaluate(refs []ref) (*unit, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	key := keyOf(refs)
	if u := r.loader.units[cueUnit]; u != nil && u.id == key {
		r.units[cueUnit] = u
		r.report(u.warnings...)
		return u, nil
	}
	files, err := r.readCUE(refs)
	if err != nil || files == nil {
		r.partial = true
		return nil, err
	}
	reply, ok, err := r.ask(refs[0].path, evalRequest{Files: files})
	if err != nil || !ok {
		r.partial = true
		return nil, err
	}
	for _, p := range reply.Problems {
		r.report(r.cueProblem(p, refs[0].path))
	}
	if reply.Config == nil {
		r.partial = true
		return nil, nil
	}
	return r.declareCUE(refs, key, reply)
}

// declareCUE checks what the CUE files declare as if it were TOML.
func (r *run) declareCUE(refs []ref, key string, reply evalReply) (*unit, error) {
	config, err := json.Marshal(reply.Config)
	if err != nil {
		return nil, fmt.Errorf("keep the result of CUE: %w", err)
	}
	u := &unit{path: cueUnit, id: key, reply: &cueReply{refs: refs, config: config, polices: reply.Polices, key: key}}
	root, err := r.replyTree(u.reply)
	if err != nil {
		return nil, err
	}
	before, errors := len(r.problems), r.errors
	if err := r.check(u, root); err != nil {
		return nil, err
	}
	if r.errors == errors {
		u.warnings = slices.Clone(r.problems[before:])
		r.units[cueUnit] = u
	}
	return u, nil
}

func keyOf(refs []ref) string {
	h := sha256.New()
	for _, f := range refs {
		io.WriteString(h, f.path+"\x00"+f.id+"\x00")
	}
	return hex.EncodeToString(h.Sum(nil))
}

// readCUE reads the files within the limits; nil when they are beyond.
func (r *run) readCUE(refs []ref) ([]evalFile, error) {
	var files []evalFile
	total := 0
	for _, ref := range refs {
		f, err := r.read(ref)
		if err != nil {
			return nil, err
		}
		if f == nil {
			return nil, nil
		}
		if p, ok := checkEncoding(f); !ok {
			r.report(p)
			return nil, nil
		}
		total += len(f.data)
		files = append(files, evalFile{Path: f.path, Data: f.data})
	}
	if total > maxEvalRead {
		r.report(whole(refs[0].path, "too-large", fmt.Sprintf("all CUE files together have %d bytes; at most %d are read", total, maxEvalRead), "write services in TOML"))
		return nil, nil
	}
	return files, nil
}

// ask puts a request to the child, which is started for the first one. ok is
// false when the repository's CUE is at fault, which is then reported.
func (r *run) ask(file string, q evalRequest) (evalReply, bool, error) {
	if r.loader.config.Eval == nil {
		r.report(whole(file, "no-evaluator", "CUE files can't be evaluated here", "write the config in TOML"))
		return evalReply{}, false, nil
	}
	if r.session == nil {
		s, err := openSession(r.ctx, r.loader.config.Eval, r.loader.config.EvalTime)
		if err != nil {
			return evalReply{}, false, err
		}
		r.session = s
	}
	reply, err := r.session.ask(q)
	var tooMuch *tooMuchError
	if errors.As(err, &tooMuch) {
		r.report(whole(file, "evaluation", "the CUE of this repository can't be evaluated: "+tooMuch.what,
			"look for comprehensions over large lists, and for structs that hold themselves"))
		return evalReply{}, false, nil
	}
	return reply, err == nil, err
}

// replyTree makes the nodes of a reply.
func (r *run) replyTree(c *cueReply) (*node, error) {
	var config evalNode
	if err := json.Unmarshal(c.config, &config); err != nil {
		return nil, fmt.Errorf("read the result of CUE: %w", err)
	}
	byPath := make(map[string]*file, len(c.refs))
	for _, ref := range c.refs {
		f, err := r.read(ref)
		if err != nil {
			return nil, err
		}
		if f == nil {
			return nil, fmt.Errorf("read %s: it grew while it was being read", ref.path)
		}
		byPath[ref.path] = f
	}
	return config.node(byPath, byPath[c.refs[0].path]), nil
}

// node makes a node of what came over the wire. A value without a place of its
// own has its parent's.
func (e *evalNode) node(files map[string]*file, parent *file) *node {
	n := &node{kind: e.Kind, text: e.Text, num: e.Int, on: e.Bool, file: files[e.At.File], key: e.At.Key, val: e.At.Val}
	if n.file == nil {
		n.file, n.key, n.val = parent, span{}, span{}
	}
	n.key, n.val = n.file.clamp(n.key), n.file.clamp(n.val)
	for _, f := range e.Fields {
		n.put(f.Name, f.node(files, n.file))
	}
	for _, item := range e.Items {
		n.items = append(n.items, item.node(files, n.file))
	}
	return n
}

// clamp keeps a span inside of the file.
func (f *file) clamp(s span) span {
	s.start = min(max(s.start, 0), len(f.data))
	return span{s.start, min(max(s.end, s.start), len(f.data))}
}

// cueProblem places an error of the CUE files themselves.
func (r *run) cueProblem(p evalProblem, file string) schema.Problem {
	where := strings.Join(p.Path, ".")
	hint := ""
	if strings.HasPrefix(where, "#") && strings.HasSuffix(p.Message, "not allowed") {
		hint = "a definition allows no other fields where it is unified: write it with _ in place of #"
	}
	if len(p.Places) == 0 || r.files[p.Places[0].File] == nil {
		q := whole(file, "cue", p.Message, hint)
		q.Path = where
		return q
	}
	first := p.Places[0]
	f := r.files[first.File]
	q := f.problem(f.clamp(first.Val), "cue", where, p.Message)
	q.Hint, q.Related = hint, r.positions(p.Places[1:])
	return q
}

func (r *run) positions(places []evalPlace) []schema.Position {
	var list []schema.Position
	for _, at := range places {
		if f := r.files[at.File]; f != nil {
			list = append(list, f.position(f.clamp(at.Key)))
		}
	}
	return list
}
