// The scenario with Go's net/http. See python_clients.py for what is printed.
package main

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

var client = &http.Client{
	Timeout:   30 * time.Second,
	Transport: &http.Transport{ExpectContinueTimeout: time.Second},
}

func send(endpoint string, key string, expect bool, photo []byte, template string) (int, string, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("photo", "photo.jpg") // application/octet-stream
	if err != nil {
		return 0, "", err
	}
	part.Write(photo)
	if template != "" {
		form.WriteField("templateId", template)
	}
	form.Close()
	request, err := http.NewRequest("POST", os.Getenv("CLIENT_URL")+"/api/v1.0/"+endpoint, &body)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", form.FormDataContentType())
	request.Header.Set("APP-ID", os.Getenv("CLIENT_APP_ID"))
	request.Header.Set("APP-KEY", key)
	if expect {
		request.Header.Set("Expect", "100-continue")
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func report(step string, good int, of int, detail string) {
	detail = strings.Join(strings.Fields(detail), " ")
	if len(detail) > 200 {
		detail = detail[:200]
	}
	fmt.Printf("%s\t%d\t%d\t%s\n", step, good, of, detail)
}

// What is wrong with an answer; empty: nothing.
func check(step string, status int, text string, err error, expected int, part string) string {
	if err == nil && status == expected && strings.Contains(text, part) {
		return ""
	}
	return fmt.Sprintf("%s: %d %s %v", step, status, text, err)
}

func content(name string) []byte {
	bytes, err := os.ReadFile(os.Getenv(name))
	if err != nil {
		panic(err)
	}
	return bytes
}

func one(trouble string) int {
	if trouble == "" {
		return 1
	}
	return 0
}

func main() {
	enrol, probe, large := content("CLIENT_ENROL"), content("CLIENT_PROBE"), content("CLIENT_LARGE")
	template, key := os.Getenv("CLIENT_TEMPLATE"), os.Getenv("CLIENT_APP_KEY")
	rounds, err := strconv.Atoi(os.Getenv("CLIENT_ROUNDS"))
	if err != nil {
		panic(err)
	}
	named := "\"" + template + "\""
	status, text, err := send("add?replace=true", key, false, enrol, template)
	trouble := check("enrol", status, text, err, 200, named)
	report("enrol", one(trouble), 1, trouble)
	status, text, err = send("identify", key, false, probe, "")
	trouble = check("identify", status, text, err, 200, named)
	report("identify", one(trouble), 1, trouble)
	for _, expect := range []bool{false, true} {
		if expect && os.Getenv("CLIENT_NO_EXPECT") != "" {
			continue
		}
		count, first := 0, ""
		for round := 0; round < rounds; round++ {
			status, text, err := send("identify", "wrong", expect, large, "")
			refused := check("refused", status, text, err, 401, "\"code\":401")
			status, text, err = send("identify", key, false, enrol, "")
			served := check("next", status, text, err, 200, named)
			count += one(refused + served)
			if first == "" {
				first = refused + served
			}
		}
		step := "refused"
		if expect {
			step = "refused, Expect"
		}
		report(step, count, rounds, first)
	}
}
