// net/http with golang-jwt: a Go service without a framework.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/golang-jwt/jwt"
)

type message struct {
	Message string `json:"message"`
}

func writeJSON(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(message{text})
}

func unauthorized(w http.ResponseWriter, challenge, text string) {
	w.Header().Set("WWW-Authenticate", challenge)
	writeJSON(w, http.StatusUnauthorized, text)
}

func requireJWT(secret []byte, next http.HandlerFunc) http.HandlerFunc {
	key := func(*jwt.Token) (interface{}, error) { return secret, nil }
	methods := jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()})

	return func(w http.ResponseWriter, r *http.Request) {
		const prefix = "Bearer "
		field := r.Header.Get("Authorization")
		if !strings.HasPrefix(field, prefix) {
			unauthorized(w, "Bearer", "No authorization token was found")
			return
		}
		token, err := jwt.ParseWithClaims(field[len(prefix):], &jwt.RegisteredClaims{}, key, methods)
		if err != nil || !token.Valid {
			unauthorized(w, `Bearer error="invalid_token"`, "Invalid token")
			return
		}
		next(w, r)
	}
}

func main() {
	secret := []byte(os.Getenv("JWT_SECRET"))

	mux := http.NewServeMux()
	mux.HandleFunc("/resource", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, "Public resource. You can see this.")
	})
	mux.HandleFunc("/resource/secret", requireJWT(secret, func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, "Secret resource. You should be logged in to see this.")
	}))

	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("API_PORT"), mux))
}
