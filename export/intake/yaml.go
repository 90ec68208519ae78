package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v4"
)

const yamlFix = "mend the file: docker compose config -q"

// readYAML reads one document, aliases and merged keys filled in.
func readYAML(src Source) (*tree, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(src.Data))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		return nil, yamlError(src, err)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, &Error{at(src, max(more.Line, 1)), "there is more than one document in it", "keep one: split the file at ---"}
	}
	r := &yamlReader{src: src}
	return r.read(&doc, 0)
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// yamlError finds the place in the library's words.
func yamlError(src Source, err error) error {
	line := 0
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	if errors.Is(err, io.EOF) {
		return &Error{at(src, 0), "there is nothing in it", "name a file that declares a program"}
	}
	return &Error{at(src, line), clean(err.Error()), yamlFix}
}

// yamlReader follows aliases as often as they are used, within bounds.
type yamlReader struct {
	src   Source
	nodes int
}

func (r *yamlReader) read(n *yaml.Node, depth int) (*tree, error) {
	r.nodes++
	if depth > maxDepth || r.nodes > maxNodes {
		return nil, &Error{at(r.src, n.Line), "it is nested too deeply, or its aliases make it too large", "write out what the aliases stand for"}
	}
	t := &tree{at: at(r.src, n.Line)}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			t.kind = null
			return t, nil
		}
		return r.read(n.Content[0], depth+1)
	case yaml.AliasNode:
		return r.read(n.Alias, depth+1)
	case yaml.SequenceNode:
		t.kind = list
		for _, c := range n.Content {
			item, err := r.read(c, depth+1)
			if err != nil {
				return nil, err
			}
			t.items = append(t.items, item)
		}
	case yaml.MappingNode:
		return r.mapping(n, depth)
	default:
		t.text = n.Value
		if n.ShortTag() == "!!null" || n.Kind != yaml.ScalarNode {
			t.kind = null
		}
	}
	return t, nil
}

// mapping reads a table. What is written in it goes before what is merged in.
func (r *yamlReader) mapping(n *yaml.Node, depth int) (*tree, error) {
	t := newTable(at(r.src, n.Line))
	var merged []*tree
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		v, err := r.read(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if v.at.Line = k.Line; k.Kind != yaml.ScalarNode {
			return nil, &Error{at(r.src, k.Line), "a key is no plain text", yamlFix}
		}
		if k.ShortTag() == "!!merge" {
			merged = append(merged, v.each()...)
		} else if !t.put(k.Value, v) {
			return nil, &Error{at(r.src, k.Line), fmt.Sprintf("%q is written twice", shown(k.Value)), "keep one of the two"}
		}
	}
	for _, m := range merged {
		if m.kind != table {
			return nil, &Error{at(r.src, n.Line), "what << names is no table", yamlFix}
		}
		for _, key := range m.keys {
			t.put(key, m.fields[key])
		}
	}
	return t, nil
}
