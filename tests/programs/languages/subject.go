// Goroutines on several threads, with timers and collections.
package main

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"time"
)

type ledger struct {
	total   int
	entries []int
}

//go:noinline
func work(book *ledger, step int) int {
	twice := step * 2
	book.entries = append(book.entries, twice)
	book.total += twice
	return book.total
}

// Or the scheduler moves main to another thread, and what GDB's finish and next wait for in this one does not come.
func init() {
	runtime.LockOSThread()
}

func last() {}

func main() {
	runtime.GOMAXPROCS(4)
	random := make([]byte, 4)
	rand.Read(random)
	fmt.Println("nonce", random)
	questions, answers := make(chan int), make(chan int)
	for number := 0; number < 20; number++ {
		go func() {
			for step := range questions {
				time.Sleep(time.Millisecond)
				answers <- step
			}
		}()
	}
	book := &ledger{}
	sum := 0
	for step := 1; step <= 5; step++ {
		total := work(book, step)
		for number := 0; number < 20; number++ {
			questions <- step
		}
		for number := 0; number < 20; number++ {
			sum += <-answers
		}
		runtime.GC()
		fmt.Println("step", step, "total", total, "sum", sum)
	}
	fmt.Println("nonce", random, "entries", len(book.entries))
	last()
}
