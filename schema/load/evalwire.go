package load

import (
	"encoding/json"
	"strconv"
)

// What the loader and its child process say to each other: JSON values over
// the child's standard input and output, a reply for each request. The child
// reads no file and opens no connection; it ends when its input does.
//
//	1. evalRequest{Files}     -> evalReply{Config, Polices, Problems}
//	2. evalRequest{Subjects}  -> evalReply{Problems}   any number of times

type evalRequest struct {
	Files    []evalFile    `json:"files,omitempty"`
	Subjects []evalSubject `json:"subjects,omitempty"`
}

// evalFile is one CUE file of the repository.
type evalFile struct {
	Path string `json:"path"`
	Data []byte `json:"data"`
}

// evalSubject is a table that the repository's policy is to judge: a service
// with its defaults, or [settings] or [routing] (then Name is "").
type evalSubject struct {
	Table string         `json:"table"` // "service", "settings", "routing"
	Name  string         `json:"name,omitempty"`
	Value map[string]any `json:"value"`
}

type evalReply struct {
	Config *evalNode `json:"config,omitempty"`
	// Polices says that the files constrain what other files declare.
	Polices  bool          `json:"polices,omitempty"`
	Problems []evalProblem `json:"problems,omitempty"`
}

// evalNode is a node with its place.
type evalNode struct {
	Kind   kind        `json:"k"`
	Name   string      `json:"n,omitempty"` // of a field, in its table
	Text   string      `json:"t,omitempty"`
	Int    int64       `json:"i,omitempty"`
	Bool   bool        `json:"b,omitempty"`
	At     evalPlace   `json:"a"`
	Fields []*evalNode `json:"f,omitempty"`
	Items  []*evalNode `json:"l,omitempty"`
}

// evalPlace is where a node's name and value stand, in bytes of a file.
type evalPlace struct {
	File string `json:"p,omitempty"`
	Key  span   `json:"k"`
	Val  span   `json:"v"`
}

// evalProblem is a fault that CUE found. In the files themselves it has a
// Message; of a subject it has what is wrong with the value Got.
type evalProblem struct {
	Subject int         `json:"subject"`
	Path    []string    `json:"path,omitempty"`
	Message string      `json:"message,omitempty"`
	Got     string      `json:"got,omitempty"` // canonical JSON; "" = not there
	Wrong   string      `json:"wrong,omitempty"`
	Places  []evalPlace `json:"places,omitempty"` // in the repository's files
}

// The limits of the child. They are far above what a config needs; they make a
// CUE file that never ends, or only grows, an ordinary error.
const (
	evalMemory  = 768 << 20 // bytes of address space beyond what a start takes
	evalCPU     = 20        // seconds
	evalNodes   = 2_000_000 // values in the result
	maxEvalWire = 64 << 20  // bytes of one reply
	maxEvalRead = 16 << 20  // bytes of all CUE files together
)

// MarshalJSON writes a span as two numbers.
func (s span) MarshalJSON() ([]byte, error) { return appendPair(s.start, s.end), nil }

// UnmarshalJSON reads what MarshalJSON writes.
func (s *span) UnmarshalJSON(b []byte) error { return readPair(b, &s.start, &s.end) }

func appendPair(a, b int) []byte {
	out := strconv.AppendInt([]byte{'['}, int64(a), 10)
	out = strconv.AppendInt(append(out, ','), int64(b), 10)
	return append(out, ']')
}

func readPair(b []byte, x, y *int) error {
	var pair [2]int
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	*x, *y = pair[0], pair[1]
	return nil
}
