package quiet

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/grpclog"
)

const canary = "canary-7f3a"

func record() (*bytes.Buffer, *slog.Logger) {
	var b bytes.Buffer
	return &b, slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug - 8}))
}

// TestLibrariesAreHeardWithoutTheirData calls every face with canaries in all
// places: each gives a line, and no line holds one.
func TestLibrariesAreHeardWithoutTheirData(t *testing.T) {
	lines, logger := record()
	lib := Library{Log: logger, Message: "it", Info: slog.LevelDebug, Warn: slog.LevelInfo, Error: slog.LevelWarn, Events: []string{"known"}}
	grpc, hc := lib.GRPC(), lib.HCLog().Named(canary).With(canary, canary)
	err := errors.New(canary)
	for name, say := range map[string]func(){
		"infof":       func() { lib.Infof("%s "+canary, canary) },
		"warnf":       func() { lib.Warnf("%s "+canary, canary) },
		"errorf":      func() { lib.Errorf("%s "+canary, canary) },
		"fatalf":      func() { defer constant(t); lib.Fatalf("%s "+canary, canary) },
		"std":         func() { lib.Std().Printf("%s "+canary, canary) },
		"std panic":   func() { defer func() { _ = recover() }(); lib.Std().Panicf("%s "+canary, canary) },
		"hclog":       func() { hc.Error(canary, canary, err) },
		"hclog known": func() { hc.Warn("known", "error", err, canary, canary) },
		"hclog std":   func() { hc.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Error}).Print(canary) },
		"grpc":        func() { grpc.Info(canary); grpc.Warningln(canary); grpc.Errorf("%v", err) },
		"grpc fatal":  func() { defer constant(t); grpc.Fatal(canary) },
	} {
		t.Run(name, func(t *testing.T) {
			lines.Reset()
			say()
			if text := lines.String(); strings.Contains(text, "canary") || !strings.Contains(text, "msg=it") {
				t.Errorf("it logged %q", text)
			}
		})
	}
	lines.Reset()
	hc.Warn("known", "error", err)
	if !strings.Contains(lines.String(), "event=known") {
		t.Errorf("a listed text did not pass: %q", lines)
	}
}

// constant fails the test unless there is a panic that holds no data.
func constant(t *testing.T) {
	if v := recover(); v == nil || strings.Contains(fmt.Sprint(v), canary) {
		t.Errorf("the panic is %v", v)
	}
}

// TestProcess: what takes no logger goes the same way.
func TestProcess(t *testing.T) {
	lines, logger := record()
	Process(logger)
	for name, say := range map[string]func(){
		"log":   func() { log.Print(canary) },
		"slog":  func() { slog.Error(canary, canary, canary) },
		"hclog": func() { hclog.Default().Error(canary, canary, canary) },
		"grpc":  func() { grpclog.Error(canary) },
	} {
		lines.Reset()
		say()
		if text := lines.String(); strings.Contains(text, "canary") || name != "slog" && !strings.Contains(text, "class=") {
			t.Errorf("%s logged %q", name, text)
		}
	}
}

// TestPanic: the stack names functions, and holds neither value nor arguments.
func TestPanic(t *testing.T) {
	lines, logger := record()
	func() {
		defer func() {
			if v := recover(); v != nil {
				logger.Error("caught", Panic(v))
			}
		}()
		fail(errors.New(canary), 0x63616e617279)
	}()
	text := lines.String()
	for _, bad := range []string{canary, "63616e617279", "0x"} {
		if strings.Contains(text, bad) {
			t.Errorf("it holds %s: %s", bad, text)
		}
	}
	for _, want := range []string{"quiet.fail:", "quiet.TestPanic", "*errors.errorString"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not hold %s: %s", want, text)
		}
	}
	var all bytes.Buffer
	if err := Goroutines(&all); err != nil || !strings.Contains(all.String(), "quiet.TestPanic") {
		t.Errorf("%v: %s", err, all.String())
	}
}

//go:noinline
func fail(err error, word uint64) {
	if word > 0 {
		panic(err)
	}
}
