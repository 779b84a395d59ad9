package main

import (
	"errors"
	"flag"
	"fmt"

	"github.com/mailconn/mailconn/connection"
)

func listCommand(flags *flag.FlagSet) func(*session, []string) error {
	o := &connection.ListOptions{}
	fold := flags.Bool("d", false, "fold keys behind the next slash into one line")
	flags.StringVar(&o.After, "after", "", "only keys behind this `key`")
	flags.IntVar(&o.Limit, "limit", 0, "at most so many lines; 0 = all")
	return func(s *session, args []string) error {
		if len(args) > 1 {
			return misused("ls: want one prefix, or none")
		}
		if len(args) == 1 {
			o.Prefix = args[0]
		}
		if *fold {
			o.Delimiter = "/"
		}
		for info, err := range s.store.List(s.ctx, o) {
			if err != nil {
				return err
			}
			if err := s.tell(info, row(info)); err != nil {
				return err
			}
		}
		return nil
	}
}

func statCommand(*flag.FlagSet) func(*session, []string) error {
	return func(s *session, keys []string) error {
		if len(keys) == 0 {
			return misused("stat: which keys?")
		}
		var failed []error
		for _, key := range keys {
			info, err := s.store.Stat(s.ctx, key)
			if err == nil {
				err = s.tell(info, page(info))
			}
			failed = append(failed, err)
		}
		return errors.Join(failed...)
	}
}

func removeCommand(*flag.FlagSet) func(*session, []string) error {
	return func(s *session, keys []string) error {
		if len(keys) == 0 {
			return misused("rm: which keys?")
		}
		err := s.store.Delete(s.ctx, keys...)
		stays := make(map[string]bool)
		for e := range connection.Errors(err) {
			stays[e.Key] = true
		}
		for _, key := range keys {
			if stays[key] {
				continue
			}
			if err := s.tell(map[string]string{"removed": key}, "removed "+key); err != nil {
				return err
			}
		}
		return err
	}
}

func testCommand(flags *flag.FlagSet) func(*session, []string) error {
	write := flags.Bool("write", false, "also write a small object and remove it")
	return func(s *session, args []string) error {
		if len(args) > 0 {
			return misused("test: %q: unexpected", args[0])
		}
		report, err := s.store.Test(s.ctx, &connection.TestOptions{Write: *write})
		return errors.Join(s.tell(report, fmt.Sprint(report)), err)
	}
}
