package main

import (
	"errors"
	"sync"
)

// each runs f for the numbers below n, so many at a time as -workers says, and joins what fails, in order.
func (s *session) each(n int, f func(i int) error) error {
	errs := make([]error, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(s.workers, n) {
		wg.Go(func() {
			for i := range next {
				if errs[i] = s.ctx.Err(); errs[i] == nil {
					errs[i] = f(i)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if err := s.ctx.Err(); err != nil {
		return err // what failed by it need not be told one by one
	}
	return errors.Join(errs...)
}
