// Command noop is the smallest HTTP service the tests deploy: it answers 200 to
// everything on PORT, or on SOCKET_PATH where that is all it has. It avoids
// net/http, so that its own start costs next to nothing.
package main

import (
	"net"
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "fail" {
		os.Stderr.WriteString("noop: told to fail\n")
		os.Exit(3)
	}
	if d, err := time.ParseDuration(os.Getenv("NOOP_DELAY")); err == nil {
		time.Sleep(d)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		os.Stderr.WriteString("noop: " + err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString("noop: listening on " + l.Addr().String() + "\n")
	text := os.Getenv("NOOP_TEXT") + "ok\n"
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(text)) + "\r\nConnection: close\r\n\r\n" + text)
	if code := os.Getenv("NOOP_STATUS"); code != "" {
		answer = []byte("HTTP/1.1 " + code + " Told So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}
	for {
		c, err := l.Accept()
		if err != nil {
			continue
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(5 * time.Second))
			var request [4096]byte
			if _, err := c.Read(request[:]); err == nil {
				c.Write(answer)
			}
		}()
	}
}
