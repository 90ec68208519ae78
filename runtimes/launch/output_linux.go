package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/runtimes/launch/wire"
)

// Output opens the output pipes for reading; see runtimes.Outputter. A reader
// costs a file and no thread.
func (v *Level) Output(key runtimes.Key) (stdout, stderr io.ReadCloser, err error) {
	e, err := v.find(key)
	if err != nil {
		return nil, nil, fmt.Errorf("output of %s: %w", key, err)
	}
	file, err := os.OpenFile(string(v.path(key)), os.O_RDWR, 0)
	if err != nil {
		return nil, nil, outputError(key, err)
	}
	shared := &recordRef{f: file}
	shared.users.Store(2)
	var pipe [2]*os.File
	for i, fd := range []int{wire.FDOut, wire.FDErr} {
		if pipe[i], err = v.l.openPipe(e.init, fd); err != nil {
			file.Close()
			pipe[0].Close() // nil is allowed
			return nil, nil, outputError(key, err)
		}
	}
	return &output{pipe: pipe[0], file: shared}, &output{pipe: pipe[1], file: shared, second: true}, nil
}

// openPipe opens an output pipe anew through the init that holds it, or gives
// nil when init has ended.
func (l *Launcher) openPipe(h handle, fd int) (*os.File, error) {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", h.pid, fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	st, serr := readStat(h.pid)
	switch {
	case serr != nil, h.boot != l.boot, st.start != h.start: // it is gone, or was another's
	case err != nil && st.memory > 0:
		return nil, err
	case err == nil:
		return f, nil
	}
	if err == nil {
		f.Close()
	}
	return nil, nil
}

func outputError(key runtimes.Key, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = runtimes.ErrNotFound
	}
	return fmt.Errorf("output of %s: %w", key, err)
}

// recordRef is the record file, shared by the two readers of an incarnation.
type recordRef struct {
	f     *os.File
	users atomic.Int32
}

// output reads a pipe to its end, which comes when init is gone, and then what
// init saved of it.
type output struct {
	pipe   *os.File // nil when init was gone already
	file   *recordRef
	second bool              // standard error
	rest   *io.SectionReader // what was saved; nil while the pipe lasts
	closed atomic.Bool
}

func (o *output) Read(b []byte) (int, error) {
	if o.rest == nil && o.pipe != nil {
		n, err := o.pipe.Read(b)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
	}
	if o.rest == nil {
		o.rest = o.saved()
	}
	n, err := o.rest.Read(b)
	if errors.Is(err, io.EOF) && o.rest.Size() > 0 {
		o.taken()
	}
	return n, err
}

// saved is the part of the record file that belongs to this pipe.
func (o *output) saved() *io.SectionReader {
	rec, ok := readExit(o.file.f)
	offset, size, taken := rec.Saved, rec.OutLen, rec.OutTaken
	if o.second {
		offset, size, taken = rec.Saved+rec.OutLen, rec.ErrLen, rec.ErrTaken
	}
	if !ok || !rec.Done || taken {
		offset, size = 0, 0
	}
	return io.NewSectionReader(o.file.f, int64(offset), int64(size))
}

// taken notes that all of it was read, so that the next reader does not get it
// twice. If the note cannot be written the next reader does; that is the better
// fault.
func (o *output) taken() {
	offset := int64(wire.OutTakenOffset)
	if o.second {
		offset = wire.ErrTakenOffset
	}
	o.file.f.WriteAt([]byte{1}, offset)
	o.rest = io.NewSectionReader(o.file.f, 0, 0)
}

func (o *output) Close() error {
	if o.closed.Swap(true) {
		return os.ErrClosed
	}
	var err error
	if o.pipe != nil {
		err = o.pipe.Close()
	}
	if o.file.users.Add(-1) == 0 {
		o.file.f.Close()
	}
	return err
}

// SyscallConn lets a reader of many instances wait for all their pipes at once.
// At the pipe's end Read gives what init saved.
func (o *output) SyscallConn() (syscall.RawConn, error) {
	if o.pipe == nil {
		return nil, fs.ErrClosed
	}
	return o.pipe.SyscallConn()
}
