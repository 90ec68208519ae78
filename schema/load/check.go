package load

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tenement/ten/schema"
)

// checker judges tables: what Go can say more clearly first, then CUE. A fault
// in one field never hides one in another.
type checker struct {
	report func(...schema.Problem)
	full   func() bool // further problems are only counted
	good   func(def string, v schema.Values) (bool, error)
	faults func(def string, f *schema.Field, v any) []fault
	err    error // the first of good's; all that follows is void
	cut    bool  // the file could not be read to its end, so more may follow

	service, dependency, settings, tls, routing *fieldTable
	host, placement                             *fieldTable // of slum.toml

	tables []string // the names of #Config
}

// fieldTable is the fields of one definition.
type fieldTable struct {
	def    string
	fields []schema.Field
	byName map[string]*schema.Field
}

func newFieldTable(def string, fields []schema.Field) *fieldTable {
	t := &fieldTable{def: def, fields: fields, byName: make(map[string]*schema.Field, len(fields))}
	for i := range fields {
		t.byName[fields[i].Name] = &fields[i]
	}
	return t
}

func (r *run) newChecker() *checker {
	return &checker{
		report:     r.report,
		full:       r.full,
		good:       r.good,
		faults:     r.faults,
		service:    newFieldTable("#Service", schema.ServiceFields()),
		dependency: newFieldTable("#Dependency", schema.DependencyFields()),
		settings:   newFieldTable("#Settings", schema.SettingsFields()),
		tls:        newFieldTable("#TLS", schema.TLSFields()),
		routing:    newFieldTable("#Routing", schema.RoutingFields()),
		host:       newFieldTable("#Host", schema.HostFields()),
		placement:  newFieldTable("#Placement", schema.PlacementFields()),
		tables:     names(schema.ConfigFields()),
	}
}

// accept asks CUE about a whole table.
func (c *checker) accept(def string, v schema.Values) bool {
	ok, err := c.good(def, v)
	if c.err == nil {
		c.err = err
	}
	return ok
}

// table judges a table against a definition and gives the values of its good
// fields, aliases resolved. ok says that all were good.
func (c *checker) table(t *fieldTable, n *node, where string) (schema.Values, bool) {
	values := make(schema.Values, len(n.keys))
	ok := true
	meant := make(map[string]bool) // by a misspelt key
	for _, key := range n.keys {
		f := t.byName[key]
		if f == nil {
			meant[c.unknownField(t, n.child(key), joinPath(where, key), key)] = true
			ok = false
			continue
		}
		ok = c.field(t, f, n, values, where) && ok
	}
	for i := range t.fields {
		f := &t.fields[i]
		if f.Required && n.child(f.Name) == nil && !meant[f.Name] && !c.cut {
			p := n.atKey("missing-key", joinPath(where, f.Name), "is missing")
			p.Hint = fmt.Sprintf("add %s = ...: %s", f.Name, f.Wants)
			c.report(p)
			ok = false
		}
	}
	if ok && c.accept(t.def, values) {
		return values, true
	}
	return values, c.judgeFields(t, n, values, where) && ok
}

// field takes one field into values when Go finds nothing wrong with it.
func (c *checker) field(t *fieldTable, f *schema.Field, n *node, values schema.Values, where string) bool {
	child := n.child(f.Name)
	at := joinPath(where, f.Name)
	if f.Later {
		p := child.atKey("unsupported", at, "is not supported by this build of ten")
		p.Hint = "take it out, or use a newer ten"
		c.report(p)
		return false
	}
	name := canonical(f)
	if first := n.child(name); f.Alias != "" && first != nil {
		p := child.atKey("duplicate", at, fmt.Sprintf("is another spelling of %s, which is set too", name))
		p.Related = append(p.Related, first.keyPosition())
		p.Hint = "keep " + name
		c.report(p)
		return false
	}
	if !c.kind(f, child, at) {
		c.judgeRest(t, f, child, values, at)
		return false
	}
	if f.Kind == schema.KindTable { // tls is the only one
		inner, ok := c.table(c.tls, child, at)
		if ok {
			values[name] = map[string]any(inner)
		}
		return ok
	}
	if f.Kind != schema.KindDependencies {
		values[name] = child.value()
		return true
	}
	deps, ok := c.dependencies(child, at)
	if ok {
		values[name] = deps
	}
	return ok
}

// judgeRest lets the parts of a list or table be judged that are of the right
// kind.
func (c *checker) judgeRest(t *fieldTable, f *schema.Field, n *node, values schema.Values, at string) {
	switch {
	case f.Kind == schema.KindStringMap && n.kind == tableNode:
		values[canonical(f)] = n.strings() // by judgeFields, with the other fields
	case f.Kind == schema.KindDependencies && n.kind == listNode:
		c.dependencies(n, at)
	case f.Kind == schema.KindStrings && n.kind == listNode:
		for i, item := range n.items {
			if item.kind != stringNode {
				continue
			}
			for _, fault := range c.faults(t.def, f, []any{item.text}) {
				fault.path = []string{strconv.Itoa(i)}
				c.report(fault.problem(n, at))
			}
		}
	}
}

// canonical is the name under which a field's value is kept.
func canonical(f *schema.Field) string {
	if f.Alias != "" {
		return f.Alias
	}
	return f.Name
}

// maxDependencies bounds the length of depends_on.
const maxDependencies = 1000

// dependencies gives the entries of depends_on in their long form. Each is
// judged alone: what CUE says of a list of either names or tables helps nobody.
func (c *checker) dependencies(n *node, where string) ([]any, bool) {
	if len(n.items) > maxDependencies {
		p := n.atValue("too-many", where, fmt.Sprintf("%d services are listed; at most %d may be", len(n.items), maxDependencies))
		p.Hint = "a service that depends on so many starts last anyway"
		c.report(p)
		return nil, false
	}
	entries, ok := make([]any, 0, len(n.items)), true
	seen := make(map[string]*node)
	for i, item := range n.items {
		if item.kind != tableNode && item.kind != stringNode {
			continue // reported for its kind
		}
		at := fmt.Sprintf("%s[%d]", where, i)
		values, good := c.dependencyEntry(item, at)
		name, _ := values["service"].(string)
		if first := seen[name]; first != nil && name != "" {
			p := item.atValue("duplicate", at, fmt.Sprintf("%q is listed twice", name))
			p.Related = append(p.Related, first.file.position(first.val))
			p.Hint = "keep one of the two"
			c.report(p)
			good = false
		}
		seen[name] = item
		ok = ok && good
		entries = append(entries, map[string]any(values))
	}
	return entries, ok
}

func (c *checker) dependencyEntry(item *node, at string) (schema.Values, bool) {
	if item.kind == tableNode {
		return c.table(c.dependency, item, at)
	}
	values := schema.Values{"service": item.text}
	if schema.ValidServiceName(item.text) { // as CUE would say, only sooner
		return values, true
	}
	for _, fault := range c.faults(c.dependency.def, c.dependency.byName["service"], item.text) {
		c.report(fault.problem(item, at))
	}
	return values, false
}

// judgeFields lets CUE judge each field alone, so that one fault masks no other.
// Bad ones leave values.
func (c *checker) judgeFields(t *fieldTable, n *node, values schema.Values, where string) bool {
	ok := true
	for _, key := range n.keys {
		f := t.byName[key]
		if f == nil || f.Kind == schema.KindDependencies || f.Kind == schema.KindTable {
			continue
		}
		name := canonical(f)
		value, taken := values[name]
		if !taken {
			continue
		}
		for _, fault := range c.faults(t.def, f, value) {
			c.report(fault.problem(n.child(key), joinPath(where, key)))
			ok = false
			delete(values, name)
		}
	}
	return ok
}

// unknownField reports a key that is no field, with the field that was most
// likely meant, which it returns.
func (c *checker) unknownField(t *fieldTable, n *node, where, key string) string {
	p := n.atKey("unknown-key", where, "there is no such field")
	meant := synonym(key)
	if t.byName[meant] == nil && !c.full() {
		meant = nearest(key, names(t.fields))
	}
	switch {
	case meant != "":
		p.Hint = "did you mean " + meant + "?"
	case t == c.host || t == c.placement:
		p.Hint = "the fields are " + strings.Join(supported(t.fields), ", ")
	case t != c.settings && c.settings.byName[key] != nil:
		p.Hint = "it belongs in [settings] of " + rootFile
	case t != c.service && c.service.byName[key] != nil:
		p.Hint = "it belongs in a [service.NAME]"
	case len(t.fields) > 10:
		p.Hint = "ten schema prints all fields"
	default:
		p.Hint = "the fields are " + strings.Join(supported(t.fields), ", ")
	}
	c.report(p)
	return meant
}

// kind checks that a value is of its field's kind, and text without zero bytes.
func (c *checker) kind(f *schema.Field, n *node, where string) bool {
	switch f.Kind {
	case schema.KindString:
		return c.scalar(n, stringNode, string(f.Kind), where)
	case schema.KindInt:
		return c.scalar(n, intNode, string(f.Kind), where)
	case schema.KindBool:
		return c.scalar(n, boolNode, string(f.Kind), where)
	case schema.KindStrings:
		return c.list(f, n, where, stringNode, false)
	case schema.KindInts:
		return c.list(f, n, where, intNode, false)
	case schema.KindDependencies:
		return c.list(f, n, where, stringNode, true)
	case schema.KindStringMap:
		return c.stringMap(f, n, where)
	case schema.KindTable:
		return c.scalar(n, tableNode, string(f.Kind), where)
	}
	return true
}

func (c *checker) list(f *schema.Field, n *node, where string, want kind, tables bool) bool {
	if n.kind != listNode {
		p := n.atValue("wrong-type", where, fmt.Sprintf("want %s, got %s", f.Kind, n.kind))
		if n.kind == want {
			p.Hint = fmt.Sprintf("write %s = [%s]", f.Name, literal(n))
		}
		c.report(p)
		return false
	}
	ok := true
	for i, item := range n.items {
		if tables && item.kind == tableNode {
			continue
		}
		ok = c.scalar(item, want, want.String(), fmt.Sprintf("%s[%d]", where, i)) && ok
	}
	return ok
}

func (c *checker) stringMap(f *schema.Field, n *node, where string) bool {
	if n.kind != tableNode {
		p := n.atValue("wrong-type", where, fmt.Sprintf("want %s, got %s", f.Kind, n.kind))
		p.Hint = fmt.Sprintf("write %s = { NAME = \"value\" }", f.Name)
		c.report(p)
		return false
	}
	ok := true
	for _, key := range n.keys {
		child, at := n.child(key), joinPath(where, key)
		if child.kind != stringNode && f.Name == "env" && c.service.byName[key] != nil {
			p := child.atKey("wrong-type", at, "is a variable here, and so must be a string")
			p.Hint = "if the field of the service is meant, move it above the [env] table"
			c.report(p)
			ok = false
			continue
		}
		ok = c.scalar(child, stringNode, "a string", at) && ok
	}
	return ok
}

func (c *checker) scalar(n *node, want kind, words, where string) bool {
	if n.kind != want {
		p := n.atValue("wrong-type", where, fmt.Sprintf("want %s, got %s", words, n.kind))
		p.Hint = conversionHint(n, want)
		c.report(p)
		return false
	}
	if n.kind == stringNode && strings.ContainsRune(n.text, 0) {
		p := n.atValue("invalid-value", where, "holds a zero byte, which no program can be given")
		p.Hint = "take \\u0000 out"
		c.report(p)
		return false
	}
	return true
}

// literal is a string or number as a config writes it.
func literal(n *node) string {
	if n.kind == stringNode {
		return strconv.Quote(n.text)
	}
	return n.text
}

// conversionHint says how to write what was most likely meant.
func conversionHint(n *node, want kind) string {
	switch {
	case want == stringNode && n.kind != tableNode && n.kind != listNode && n.kind != nullNode:
		return fmt.Sprintf("write it in quotes: %q", n.text)
	case want == intNode && n.kind == stringNode:
		if _, err := strconv.ParseInt(n.text, 10, 64); err == nil {
			return "write it without quotes: " + n.text
		}
	case want == boolNode && n.kind == stringNode && (n.text == "true" || n.text == "false"):
		return "write it without quotes: " + n.text
	case want == intNode && n.kind == floatNode:
		if v, err := strconv.ParseFloat(n.text, 64); err == nil && v == float64(int64(v)) {
			return fmt.Sprintf("write %d", int64(v))
		}
	}
	return ""
}

func names(fields []schema.Field) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.Name
	}
	return list
}

// supported are the names that this build takes.
func supported(fields []schema.Field) []string {
	var list []string
	for _, f := range fields {
		if !f.Later && f.Alias == "" {
			list = append(list, f.Name)
		}
	}
	return list
}

// joinPath appends a key to a field path, quoted where it would read as two.
func joinPath(where, key string) string {
	if key == "" || strings.ContainsAny(key, ". \t\n\"[]") {
		key = strconv.Quote(key)
	}
	return where + "." + key
}
