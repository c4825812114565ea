package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf16"
)

// canary is what every field begins with that a caller of this test sets. Its
// letters are in every grammar.
const canary = "cnry7q3zw"

// forms are the canary as it could stand in a file.
func forms() map[string][]byte {
	out := map[string][]byte{
		"clear": []byte(canary), "upper case": []byte(strings.ToUpper(canary)), "title case": []byte("C" + canary[1:]),
		"hex": []byte(hex.EncodeToString([]byte(canary))), "hex in capitals": []byte(strings.ToUpper(hex.EncodeToString([]byte(canary)))),
	}
	escaped, le, be := "", []byte{}, []byte{}
	for _, c := range utf16.Encode([]rune(canary)) {
		escaped += fmt.Sprintf("%%%02x", c)
		le, be = append(le, byte(c), byte(c>>8)), append(be, byte(c>>8), byte(c))
	}
	out["URL-escaped"], out["URL-escaped in capitals"] = []byte(escaped), []byte(strings.ToUpper(escaped))
	out["UTF-16LE"], out["UTF-16BE"] = le, be
	for offset := range 3 { // its bytes may begin at each of base64's
		text := base64.StdEncoding.EncodeToString(append(make([]byte, offset), canary...))
		out[fmt.Sprintf("base64 at %d", offset)] = []byte(text[(offset*8+5)/6 : (offset+len(canary))*8/6])
	}
	return out
}

// found is the first canary in data, and what stands around it.
func found(data []byte) (form, around string) {
	for form, text := range forms() {
		if at := bytes.Index(data, text); at >= 0 {
			return form, fmt.Sprintf("%q", data[max(0, at-100):min(len(data), at+100)])
		}
	}
	return "", ""
}

// TestForms: what finds nothing must be able to find.
func TestForms(t *testing.T) {
	t.Parallel()
	for offset := range 9 {
		text := strings.Repeat("x", offset) + canary + "y"
		utf := ""
		for _, c := range text {
			utf += "\x00" + string(c)
		}
		for _, encoded := range []string{
			text, strings.ToUpper(text), http.CanonicalHeaderKey(canary), hex.EncodeToString([]byte(text)), fmt.Sprintf("%X", text),
			base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)), utf + "\x00", utf[1:] + "\x00",
			"%" + strings.ReplaceAll(fmt.Sprintf("% x", text), " ", "%"),
		} {
			if form, _ := found([]byte("a line with " + encoded + " in it")); form == "" {
				t.Errorf("%q is not found", encoded)
			}
		}
	}
	if form, _ := found([]byte("a line without")); form != "" {
		t.Errorf("%s is found in nothing", form)
	}
}
