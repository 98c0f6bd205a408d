// Signs every case of cases.json with each Go library; one JSON line a token on standard output.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	golangjwt "github.com/golang-jwt/jwt"
	jose "gopkg.in/square/go-jose.v2"
	josejwt "gopkg.in/square/go-jose.v2/jwt"
)

type claims map[string]interface{}

type library struct {
	name, debianPackage string
	sign                func(claims, []byte) (string, error)
}

var libraries = []library{
	{"golang-jwt", "golang-github-golang-jwt-jwt-dev", func(c claims, secret []byte) (string, error) {
		return golangjwt.NewWithClaims(golangjwt.SigningMethodHS256, golangjwt.MapClaims(c)).SignedString(secret)
	}},
	{"go-jose", "golang-gopkg-square-go-jose.v2-dev", func(c claims, secret []byte) (string, error) {
		key := jose.SigningKey{Algorithm: jose.HS256, Key: secret}
		signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			return "", err
		}
		return josejwt.Signed(signer).Claims(map[string]interface{}(c)).CompactSerialize()
	}},
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// packageVersion is the upstream part of a Debian package's version.
func packageVersion(name string) string {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", name).Output()
	must(err)
	return strings.Split(string(out), "-")[0]
}

func main() {
	text, err := os.ReadFile("cases.json")
	must(err)
	var cases []struct {
		Case, Secret string
		Claims       claims
	}
	must(json.Unmarshal(text, &cases))
	out := json.NewEncoder(os.Stdout)
	for _, l := range libraries {
		version := packageVersion(l.debianPackage)
		for _, c := range cases {
			secret, err := base64.RawURLEncoding.DecodeString(c.Secret)
			must(err)
			token, err := l.sign(c.Claims, secret)
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s will not make %s: %v\n", l.name, c.Case, err)
				continue
			}
			must(out.Encode(map[string]string{"library": l.name, "version": version, "language": "Go",
				"case": c.Case, "token": token}))
		}
	}
}
