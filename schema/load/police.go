package load

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// police has the repository's policy judge every service, and the settings and
// routing, each with its defaults, as they will run. What was judged good by the
// same policy before is not judged again.
func (r *run) police(c *cueReply, m *schema.Model) error {
	if !c.polices {
		return nil
	}
	var ask []evalSubject
	var keys []verdict
	add := func(s evalSubject, value func() map[string]any, state ...any) {
		key := r.loader.accepted.key("policy", c.key, s.Table, s.Name, schema.DefaultsVersion, state)
		if !r.loader.accepted.has(key) {
			s.Value = value()
			ask, keys = append(ask, s), append(keys, key)
		}
	}
	add(evalSubject{Table: "settings"}, func() map[string]any {
		return withDefaults(m.Fields, "settings.", schema.SettingsDefaults())
	}, m.Fields)
	add(evalSubject{Table: "routing"}, func() map[string]any { return withDefaults(m.Fields, "routing.", nil) }, m.Fields)
	for _, s := range m.Services {
		if r.loader.policed[s] == c.key {
			continue // the very value that was judged
		}
		add(evalSubject{Table: "service", Name: s.Name}, func() map[string]any { return effective(s) },
			withoutTree(s.Fields), s.Instances, s.Source)
	}
	if len(ask) > 0 {
		if err := r.askPolicy(c, ask, keys); err != nil {
			return err
		}
	}
	if r.errors == 0 {
		r.loader.policed = make(map[*schema.Service]string, len(m.Services))
		for _, s := range m.Services {
			r.loader.policed[s] = c.key
		}
	}
	return nil
}

func (r *run) askPolicy(c *cueReply, subjects []evalSubject, keys []verdict) error {
	if ok, err := r.reopen(c); err != nil || !ok {
		return err
	}
	reply, ok, err := r.ask(c.refs[0].path, evalRequest{Subjects: subjects})
	if err != nil || !ok {
		return err
	}
	guilty := make(map[int]bool)
	for _, p := range reply.Problems {
		if p.Subject < 0 || p.Subject >= len(subjects) {
			return errors.New("evaluate CUE in a child process: it answered about a subject that it was not asked of")
		}
		guilty[p.Subject] = true
		if err := r.violation(c, subjects[p.Subject], p); err != nil {
			return err
		}
	}
	for i, key := range keys {
		if !guilty[i] {
			r.loader.accepted.add(key)
		}
	}
	return nil
}

// reopen gives a new child the files, when the load began with a remembered
// reply.
func (r *run) reopen(c *cueReply) (bool, error) {
	if r.session != nil {
		return true, nil
	}
	files, err := r.readCUE(c.refs)
	if err != nil || files == nil {
		return false, err
	}
	_, ok, err := r.ask(c.refs[0].path, evalRequest{Files: files})
	return ok, err
}

// violation reports a breach of the policy where the service says it, naming
// where the policy does.
func (r *run) violation(c *cueReply, s evalSubject, v evalProblem) error {
	if r.full() {
		r.skip()
		return nil
	}
	where, n, err := r.subjectNode(s)
	if err != nil {
		return err
	}
	written := true
	for _, step := range v.Path {
		if n.kind == listNode {
			where += "[" + step + "]"
		} else {
			where = joinPath(where, step)
			written = written && n.child(spelling(n, step)) != nil
		}
		if written {
			n = n.find(spelling(n, step))
		}
	}
	message := v.Message
	switch {
	case v.Wrong != "" && v.Got != "" && !written:
		message = v.Got + ", the default, " + v.Wrong
	case v.Wrong != "" && v.Got != "":
		message = v.Got + " " + v.Wrong
	case v.Wrong != "":
		message = v.Wrong
	}
	if _, err := r.readCUE(c.refs); err != nil {
		return err
	}
	p := n.atKey("policy", where, message)
	if written && len(v.Path) > 0 {
		p = n.atValue("policy", where, message)
	}
	p.Related = r.positions(v.Places)
	p.Hint = "the policy of this repository asks for it"
	r.report(p)
	return nil
}

// spelling is the name under which a canonical field is written.
func spelling(n *node, field string) string {
	if field == "isolation" && n.child(field) == nil && n.child("runtime") != nil {
		return "runtime"
	}
	return field
}

// subjectNode finds the table that a subject was made of, or the nearest thing.
func (r *run) subjectNode(s evalSubject) (string, *node, error) {
	for _, u := range r.all {
		path := []string{s.Table}
		if s.Table == "service" {
			i := slices.IndexFunc(u.services, func(d *declared) bool { return d.name == s.Name })
			if i < 0 {
				continue
			}
			path = u.services[i].path
		}
		root, err := r.nodes(u)
		if err != nil {
			return "", nil, err
		}
		if s.Table != "service" && root.child(s.Table) == nil {
			continue
		}
		return strings.TrimSuffix(s.Table+"."+s.Name, "."), root.find(path...), nil
	}
	root, err := r.nodes(r.all[0])
	return s.Table, root, err
}

// withoutTree is what a policy can see of a service's fields: an edit of its
// source is none of its business.
func withoutTree(fields map[string]string) map[string]string {
	seen := maps.Clone(fields)
	delete(seen, "source.tree")
	return seen
}

// effective is a service as the policy sees it: what is written, what is
// declared for it in [instances], and the defaults.
func effective(s *schema.Service) map[string]any {
	v := withDefaults(s.Fields, "", schema.ServiceDefaults())
	delete(v, "source.tree")
	if len(s.Instances) > 0 {
		ids := make([]any, len(s.Instances))
		for i, id := range s.Instances {
			ids[i] = id
		}
		v["instances"] = ids
	}
	v["on_demand"] = s.OnDemand
	v["max_instances"] = int64(s.MaxInstances)
	v["source"] = s.Source
	return v
}

// withDefaults turns canonical fields with a prefix back into a table, and adds
// the defaults. A dot separates the name of a table from a key in it.
func withDefaults(fields map[string]string, prefix string, defaults []schema.Default) map[string]any {
	v := make(map[string]any)
	for _, d := range defaults {
		v[d.Field] = d.Value
	}
	for path, text := range fields {
		name, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		into := v
		if table, key, nested := strings.Cut(name, "."); nested && table != "source" {
			if v[table] == nil {
				v[table] = map[string]any{}
			}
			into, name = v[table].(map[string]any), key
		}
		into[name] = decode(text)
	}
	return v
}

// decode reads canonical JSON.
func decode(text string) any {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil
	}
	return plain(v)
}
