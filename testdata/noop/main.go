// Command noop is the smallest HTTP service the tests deploy: it answers 200 to
// everything on PORT, or on SOCKET_PATH where NOOP_SOCKET is set. It avoids
// net/http, so that its own start costs next to nothing.
//
//	NOOP_TEXT    what it answers before "ok"
//	NOOP_STATUS  the status it answers with, and no text
//	NOOP_SICK    a file; while it exists the status is 503
//	NOOP_DELAY   how long it waits before it listens
//	NOOP_MEMORY  how many megabytes it writes to and keeps
//
// Called as "noop fail" it says so and exits 3.
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
	if mb, err := strconv.Atoi(os.Getenv("NOOP_MEMORY")); err == nil {
		kept = make([]byte, mb<<20)
		for i := 0; i < len(kept); i += 4096 {
			kept[i] = byte(i >> 12)
		}
	}
	network, address := "tcp", "127.0.0.1:"+os.Getenv("PORT")
	if os.Getenv("NOOP_SOCKET") != "" {
		network, address = "unix", os.Getenv("SOCKET_PATH")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		os.Stderr.WriteString("noop: " + err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString("noop: listening on " + l.Addr().String() + "\n")
	well, sick := answer("200 OK", os.Getenv("NOOP_TEXT")+"ok\n"), answer("503 Sick", "")
	if code := os.Getenv("NOOP_STATUS"); code != "" {
		well = answer(code+" Told So", "")
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
			if _, err := c.Read(request[:]); err != nil {
				return
			}
			if file := os.Getenv("NOOP_SICK"); file != "" {
				if _, err := os.Stat(file); err == nil {
					c.Write(sick)
					return
				}
			}
			c.Write(well)
		}()
	}
}

// kept is what NOOP_MEMORY asks for.
var kept []byte

func answer(status, text string) []byte {
	return []byte("HTTP/1.1 " + status + "\r\nContent-Length: " + strconv.Itoa(len(text)) + "\r\nConnection: close\r\n\r\n" + text)
}
