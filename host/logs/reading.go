package logs

import (
	"io"
	"syscall"
)

// reading returns a function that reads the next chunk of r and hands it to
// use, and whose error is the end. A pipe is waited for without a buffer: with
// thousands of silent instances, buffers would be most of what they cost.
func (c *Collector) reading(r io.Reader) func(use func([]byte)) error {
	if pipe, ok := r.(syscall.Conn); ok {
		if raw, err := pipe.SyscallConn(); err == nil {
			return c.readingPipe(raw)
		}
	}
	own := make([]byte, 4<<10)
	return func(use func([]byte)) error {
		n, err := r.Read(own)
		if n > 0 {
			use(own[:n])
		}
		return err
	}
}

func (c *Collector) readingPipe(raw syscall.RawConn) func(use func([]byte)) error {
	return func(use func([]byte)) error {
		var chunk *[chunkSize]byte
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) (done bool) {
			chunk = c.takeChunk()
			for {
				n, failed = syscall.Read(int(fd), chunk[:])
				if failed != syscall.EINTR {
					break
				}
			}
			if failed == syscall.EAGAIN {
				c.putChunk(chunk)
				chunk = nil
				return false
			}
			return true
		})
		if chunk == nil {
			return orEOF(err)
		}
		defer c.putChunk(chunk)
		switch {
		case err != nil:
			return err
		case failed != nil:
			return failed
		case n <= 0:
			return io.EOF
		}
		use(chunk[:n])
		return nil
	}
}

// takeChunk waits while too many chunks are on their way to a slow disk. It
// takes no context: whoever holds a chunk waits for nothing but that disk.
func (c *Collector) takeChunk() *[chunkSize]byte {
	c.slots <- struct{}{}
	return c.chunks.Get().(*[chunkSize]byte)
}

func (c *Collector) putChunk(chunk *[chunkSize]byte) {
	c.chunks.Put(chunk)
	<-c.slots
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}
