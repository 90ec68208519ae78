package load

import (
	"strconv"

	"github.com/tenement/ten/schema"
)

// kind is what a node holds.
type kind uint8

const (
	tableNode kind = iota
	listNode
	stringNode
	intNode
	floatNode
	boolNode
	dateNode
	nullNode // CUE only
)

// String names the kind the way messages do.
func (k kind) String() string {
	return [...]string{"a table", "a list", "a string", "a whole number", "a decimal number", "true or false", "a date or time", "null"}[k]
}

// node is a value of a config and its place in the file it was written in.
type node struct {
	kind   kind
	opened opened // how a table came to be
	on     bool
	num    int64
	text   string // of a string its value, else the token as written
	file   *file
	key    span // of the key; of a list's item, the item
	val    span
	keys   []string // of a table, in the order written
	fields map[string]*node
	items  []*node
}

// child is a table's field, or nil.
func (n *node) child(key string) *node {
	if n == nil || n.kind != tableNode {
		return nil
	}
	return n.fields[key]
}

// put adds a field to a table.
func (n *node) put(key string, c *node) {
	if n.fields == nil {
		n.fields = make(map[string]*node, 8)
	}
	n.keys = append(n.keys, key)
	n.fields[key] = c
}

// value is the node in the form that CUE and schema.Values take.
func (n *node) value() any {
	switch n.kind {
	case tableNode:
		table := make(map[string]any, len(n.keys))
		for key, c := range n.fields {
			table[key] = c.value()
		}
		return table
	case listNode:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.value()
		}
		return list
	case intNode:
		return n.num
	case boolNode:
		return n.on
	default:
		return n.text
	}
}

// strings is the part of a table that holds strings.
func (n *node) strings() map[string]any {
	table := make(map[string]any, len(n.keys))
	for key, c := range n.fields {
		if c.kind == stringNode {
			table[key] = c.text
		}
	}
	return table
}

// find follows keys and list indices as far as they go and returns the last
// node that is there.
func (n *node) find(path ...string) *node {
	for _, step := range path {
		next := n.child(step)
		if i, err := strconv.Atoi(step); err == nil && n.kind == listNode && i >= 0 && i < len(n.items) {
			next = n.items[i]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// atKey and atValue are a fault with the node's name, or with its value.
func (n *node) atKey(code, path, message string) schema.Problem {
	return n.file.problem(n.key, code, path, message)
}

func (n *node) atValue(code, path, message string) schema.Problem {
	return n.file.problem(n.val, code, path, message)
}

// keyPosition is where the node's name stands.
func (n *node) keyPosition() schema.Position { return n.file.position(n.key) }
