// A goroutine that never calls anything: only a signal to its thread can stop it for a collection.
package main

import (
	"fmt"
	"runtime"
)

var turns uint64

func spin(begun chan bool) {
	begun <- true
	for {
		turns++
	}
}

//go:noinline
func collected(times int) int {
	return times + 1
}

func main() {
	runtime.GOMAXPROCS(2)
	begun := make(chan bool)
	go spin(begun)
	<-begun
	times := 0
	for times < 3 {
		runtime.GC()
		times = collected(times)
	}
	fmt.Println("collected", times)
}
