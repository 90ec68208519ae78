package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// Output opens the output pipes for reading; see runtimes.Outputter. A reader
// costs a file and no thread.
func (v *Level) Output(key runtimes.Key) (stdout, stderr io.ReadCloser, err error) {
	dir := v.dir(key)
	exit, err := os.OpenFile(dir.file(exitFile), os.O_RDWR, 0)
	if err != nil {
		return nil, nil, outputError(key, err)
	}
	shared := &exitRef{f: exit}
	shared.users.Store(2)
	out, err := os.OpenFile(dir.file(outPipe), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		exit.Close()
		return nil, nil, outputError(key, err)
	}
	errs, err := os.OpenFile(dir.file(errPipe), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		exit.Close()
		out.Close()
		return nil, nil, outputError(key, err)
	}
	return &output{pipe: out, exit: shared}, &output{pipe: errs, exit: shared, second: true}, nil
}

func outputError(key runtimes.Key, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = runtimes.ErrNotFound
	}
	return fmt.Errorf("output of %s: %w", key, err)
}

// exitRef is the exit file, shared by the two readers of an incarnation.
type exitRef struct {
	f     *os.File
	users atomic.Int32
}

// output reads a pipe to its end, which comes when init is gone, and then what
// init saved of it.
type output struct {
	pipe   *os.File
	exit   *exitRef
	second bool // standard error
	rest   *io.SectionReader
	closed atomic.Bool
}

func (o *output) Read(b []byte) (int, error) {
	if o.rest == nil {
		n, err := o.pipe.Read(b)
		if n > 0 || len(b) == 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		o.rest = o.saved()
	}
	n, err := o.rest.Read(b)
	if errors.Is(err, io.EOF) && o.rest.Size() > 0 {
		o.taken()
	}
	return n, err
}

// saved is the part of the exit file that belongs to this pipe.
func (o *output) saved() *io.SectionReader {
	rec, ok := readExit(o.exit.f)
	switch {
	case !ok || !rec.Done:
		return io.NewSectionReader(o.exit.f, 0, 0)
	case o.second:
		// Where it starts does not depend on whether the first part was taken.
		info, err := o.exit.f.Stat()
		if err != nil {
			return io.NewSectionReader(o.exit.f, 0, 0)
		}
		return io.NewSectionReader(o.exit.f, info.Size()-int64(rec.ErrLen), int64(rec.ErrLen))
	}
	return io.NewSectionReader(o.exit.f, wire.ExitSize, int64(rec.OutLen))
}

// taken notes that all of it was read, so that the next reader does not get it
// twice. If the note cannot be written the next reader does; that is the better
// fault.
func (o *output) taken() {
	offset := int64(wire.OutLenOffset)
	if o.second {
		offset = wire.ErrLenOffset
	}
	var none [8]byte
	o.exit.f.WriteAt(none[:], offset)
	o.rest = io.NewSectionReader(o.exit.f, 0, 0)
}

func (o *output) Close() error {
	if o.closed.Swap(true) {
		return os.ErrClosed
	}
	err := o.pipe.Close()
	if o.exit.users.Add(-1) == 0 {
		o.exit.f.Close()
	}
	return err
}
