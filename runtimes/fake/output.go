package fake

import (
	"io"
	"os"
	"strings"
	"sync"
)

// output reads a text and then waits for the end of the incarnation.
type output struct {
	text   *strings.Reader
	ended  <-chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newOutput(inc *incarnation, text string) *output {
	return &output{text: strings.NewReader(text), ended: inc.ended, closed: make(chan struct{})}
}

func (o *output) Read(b []byte) (int, error) {
	if o.text.Len() > 0 || len(b) == 0 {
		return o.text.Read(b)
	}
	select {
	case <-o.ended:
		return 0, io.EOF
	case <-o.closed:
		return 0, os.ErrClosed
	}
}

func (o *output) Close() error {
	o.once.Do(func() { close(o.closed) })
	return nil
}
