package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"
)

// hammer is a program of the scripts: it asks for a URL with a host's name, from
// four clients at a time, until it is interrupted, and fails unless each answer
// was a whole 200:
//
//	exec hammer URL HOST &load&
//	kill -INT load
//	wait load
func hammer() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: hammer URL HOST")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var well, ill atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
			for ctx.Err() == nil {
				if err := askOnce(client, os.Args[1], os.Args[2]); err != nil {
					fmt.Fprintln(os.Stderr, time.Now().Format(time.StampMilli), err)
					ill.Add(1)
				} else {
					well.Add(1)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	clients.Wait()
	fmt.Printf("%d well, %d ill\n", well.Load(), ill.Load())
	if ill.Load() > 0 || well.Load() < 20 {
		os.Exit(1)
	}
}

func askOnce(client *http.Client, url, host string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status + " " + string(body))
	}
	return nil
}
