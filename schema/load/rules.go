package load

import (
	"fmt"
	"path"
	"slices"
	"strings"

	shellquote "github.com/kballard/go-shellquote"

	"github.com/tenement/ten/schema"
)

// The variables that ten fills in, and where.
func variables() []string {
	return []string{"name", "id", "data_dir", "instance_dir", "socket", "port"}
}

// serviceRules judges what CUE can't: what a value means. Only fields that are
// good so far are looked at.
func (c *checker) serviceRules(n *node, where string, v schema.Values) bool {
	r := &ruleSet{checker: c, table: n, where: where, values: v, ok: true}
	r.text("command", r.shellLine, r.knownVariables)
	r.text("source", r.insidePath)
	r.text("workdir", r.noTilde, r.noDots)
	r.text("socket", r.socketPath, r.knownVariables)
	r.each("args", r.knownVariables)
	r.each("env", r.knownVariables)
	if list := n.child("instances"); list != nil && v["instances"] != nil {
		r.ok = c.ids(list, joinPath(where, "instances")) && r.ok
	}
	r.single()
	r.overwritten()
	r.front()
	return r.ok
}

// ruleSet is the rules of one service's table.
type ruleSet struct {
	checker *checker
	table   *node
	where   string
	values  schema.Values
	ok      bool
}

// rule looks at one string and gives what is wrong with it: code, message, hint.
type rule func(text string) (code, message, hint string)

// text applies rules to a field that holds a string.
func (r *ruleSet) text(field string, rules ...rule) {
	if s, ok := r.values[field].(string); ok && !r.apply(s, r.node(field), joinPath(r.where, field), rules) {
		delete(r.values, field)
	}
}

// each applies rules to every string of a list or table.
func (r *ruleSet) each(field string, rules ...rule) {
	if r.values[field] == nil {
		return
	}
	n := r.node(field)
	for i, item := range n.items {
		r.apply(item.text, item, fmt.Sprintf("%s[%d]", joinPath(r.where, field), i), rules)
	}
	for _, key := range n.keys {
		r.apply(n.child(key).text, n.child(key), joinPath(joinPath(r.where, field), key), rules)
	}
}

func (r *ruleSet) apply(text string, n *node, at string, rules []rule) bool {
	for _, rule := range rules {
		code, message, hint := rule(text)
		if code == "" {
			continue
		}
		p := n.atValue(code, at, message)
		p.Hint = hint
		r.checker.report(p)
		r.ok = false
		return false
	}
	return true
}

func (r *ruleSet) node(field string) *node { return r.table.child(field) }

// shellLine: without args the command is split into words, so it must be
// possible to.
func (r *ruleSet) shellLine(s string) (string, string, string) {
	if args, _ := r.values["args"].([]any); len(args) > 0 {
		return "", "", ""
	}
	if _, err := shellquote.Split(s); err != nil {
		return "invalid-value", "can't be split into words: " + strings.ToLower(err.Error()), "close the quote, or put \\ before it"
	}
	return "", "", ""
}

// insidePath: a source is a place in the repository.
func (r *ruleSet) insidePath(s string) (string, string, string) {
	switch clean := path.Clean(s); {
	case path.IsAbs(s):
		return "bad-path", fmt.Sprintf("%q is an absolute path; a source is part of the repository", s), "write it from the repository's root, for example " + hintPath(s)
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "bad-path", fmt.Sprintf("%q leaves the repository", s), "write it from the repository's root"
	case strings.HasPrefix(s, "~"):
		return "bad-path", fmt.Sprintf("%q is no part of the repository", s), "write it from the repository's root"
	}
	return "", "", ""
}

func hintPath(s string) string { return fmt.Sprintf("%q", path.Base(s)) }

// noDots: a relative workdir stays beneath the source.
func (r *ruleSet) noDots(s string) (string, string, string) {
	if clean := path.Clean(s); !path.IsAbs(s) && (clean == ".." || strings.HasPrefix(clean, "../")) {
		return "bad-path", fmt.Sprintf("%q leaves the source", s), "name a larger part of the repository as source"
	}
	return "", "", ""
}

func (r *ruleSet) noTilde(s string) (string, string, string) {
	if strings.HasPrefix(s, "~") {
		return "bad-path", fmt.Sprintf("%q begins with ~, which ten does not expand", s), "write the whole path"
	}
	return "", "", ""
}

// maxSocketPath is what fits a unix socket's address.
const maxSocketPath = 107

func (r *ruleSet) socketPath(s string) (string, string, string) {
	absolute := path.IsAbs(s) || strings.HasPrefix(s, "{data_dir}/") || strings.HasPrefix(s, "{instance_dir}/")
	switch {
	case !absolute:
		return "bad-path", fmt.Sprintf("%q is not an absolute path", s), "write {data_dir}/... or a path that begins with /"
	case strings.Contains(s, "{port}") || strings.Contains(s, "{socket}"):
		return "invalid-value", "the path of a socket can't hold {port} or {socket}", "use {name} and {id}"
	case len(s) > maxSocketPath:
		return "invalid-value", fmt.Sprintf("the path has %d bytes; a socket's has at most %d", len(s), maxSocketPath), "choose a shorter one"
	case slices.Contains(strings.Split(s, "/"), ".."):
		return "bad-path", fmt.Sprintf("%q holds ..", s), "write the path without it"
	}
	return "", "", ""
}

// knownVariables lets braces be, unless they look like a variable misspelt.
func (r *ruleSet) knownVariables(s string) (string, string, string) {
	for rest := s; ; {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			return "", "", ""
		}
		shell := open > 0 && rest[open-1] == '$'
		rest = rest[open+1:]
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			return "", "", ""
		}
		word := rest[:end]
		if near := nearVariable(word); near != "" && !shell {
			return "unknown-variable", fmt.Sprintf("there is no variable {%s}", word), "did you mean {" + near + "}?"
		}
	}
}

// nearVariable gives the variable that a word is one slip away from. Short ones
// have too many neighbours: {ip} is not {id} misspelt.
func nearVariable(word string) string {
	all := variables()
	if slices.Contains(all, word) || len(word) < 3 || len(word) > 20 {
		return ""
	}
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyz_-.ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return ""
	}
	lower := strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(word))
	for _, v := range all {
		if len(v) > 3 && lower != strings.ToUpper(word) && word != strings.ToUpper(word) && distance(lower, v, 2) < 2 {
			return v
		}
	}
	return ""
}

// single: only one instance can listen on a fixed port or socket.
func (r *ruleSet) single() {
	if r.values["instances"] == nil && r.values["max_instances"] == nil {
		return
	}
	field := "socket"
	if port, _ := r.values["port"].(int64); port != 0 {
		field = "port"
	} else if s, _ := r.values["socket"].(string); s == "" || strings.Contains(s, "{id}") || strings.Contains(s, "{instance_dir}") {
		return
	}
	list, _ := r.values["instances"].([]any)
	limit, _ := r.values["max_instances"].(int64)
	if len(list) <= 1 && limit <= 1 {
		return
	}
	n := r.node(field)
	p := n.atValue("port-conflict", joinPath(r.where, field), fmt.Sprintf("a fixed %s serves one instance, and there may be more", field))
	p.Hint = singleHint(field)
	other := r.node("instances")
	if len(list) <= 1 {
		other = r.node("max_instances")
	}
	p.Related = append(p.Related, other.keyPosition())
	r.checker.report(p)
	r.ok = false
}

func singleHint(field string) string {
	if field == "port" {
		return "leave port out, and each instance gets one of its own as PORT"
	}
	return "put {id} into the path"
}

// overwritten warns of variables that ten sets whatever the config says.
func (r *ruleSet) overwritten() {
	env, _ := r.values["env"].(map[string]any)
	for _, name := range []string{"PORT", "SOCKET_PATH"} {
		if _, ok := env[name]; !ok {
			continue
		}
		p := r.node("env").child(name).atKey("no-effect", joinPath(joinPath(r.where, "env"), name), "is set by ten; this value has no effect")
		p.Hint = "take it out, or set port = or socket = of the service"
		p.Severity = schema.Warning
		r.checker.report(p)
	}
}

// ids checks a list of instance ids for doubles; CUE judges how they look.
func (c *checker) ids(list *node, where string) bool {
	seen := make(map[string]*node, len(list.items))
	ok := true
	for i, item := range list.items {
		at := fmt.Sprintf("%s[%d]", where, i)
		if first := seen[item.text]; first != nil {
			p := item.atValue("duplicate", at, fmt.Sprintf("%q is listed twice", item.text))
			p.Related = append(p.Related, first.file.position(first.val))
			p.Hint = "keep one of the two"
			c.report(p)
			ok = false
			continue
		}
		seen[item.text] = item
	}
	return ok
}

// settingsRules judges what CUE can't of [settings].
func (c *checker) settingsRules(n *node, v schema.Values) {
	r := &ruleSet{checker: c, table: n, where: "settings", values: v, ok: true}
	r.text("data_dir", r.noTilde)
	r.text("bind", r.address)
	r.each("trusted_proxies", r.network)
	c.tlsRules(n.child("tls"), v)
	base, hasBase := v["backoff_base_ms"].(int64)
	limit, hasLimit := v["backoff_max_ms"].(int64)
	if hasBase && hasLimit && base > limit {
		p := r.node("backoff_base_ms").atValue("out-of-range", "settings.backoff_base_ms", fmt.Sprintf("%d is above backoff_max_ms, which is %d", base, limit))
		p.Related = append(p.Related, r.node("backoff_max_ms").keyPosition())
		p.Hint = "raise backoff_max_ms"
		c.report(p)
	}
}
