// The scenario for Java's HTTP clients. See python_clients.py for what is printed.

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

final class Scenario {
    /** A client: sends a form, returns what came. */
    interface Client {
        Answer send(String endpoint, String key, boolean expect, byte[] form) throws Exception;
    }

    static final class Answer {
        final int status;
        /** Null: the client does not show it. */
        final String text;

        Answer(int status, String text) {
            this.status = status;
            this.text = text;
        }
    }

    static final String URL = System.getenv("CLIENT_URL");
    static final String APP_ID = System.getenv("CLIENT_APP_ID");
    /** As it is often made up in Java, and left without quotes. */
    static final String BOUNDARY = "===" + System.currentTimeMillis() + "===";
    static final String CONTENT_TYPE = "multipart/form-data; boundary=" + BOUNDARY;

    private static final String TEMPLATE = System.getenv("CLIENT_TEMPLATE");

    private static byte[] content(String name) throws IOException {
        return Files.readAllBytes(Path.of(System.getenv(name)));
    }

    private static byte[] form(byte[] photo, String template) throws IOException {
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        text(body, "--" + BOUNDARY + "\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"photo.jpg\"\r\n"
                + "Content-Type: image/jpeg\r\nContent-Transfer-Encoding: binary\r\n\r\n");
        body.write(photo);
        if (template != null) {
            text(body, "\r\n--" + BOUNDARY + "\r\nContent-Disposition: form-data; name=\"templateId\"\r\n"
                    + "Content-Type: text/plain; charset=UTF-8\r\n\r\n" + template);
        }
        text(body, "\r\n--" + BOUNDARY + "--\r\n");
        return body.toByteArray();
    }

    private static void text(ByteArrayOutputStream body, String text) throws IOException {
        body.write(text.getBytes(StandardCharsets.UTF_8));
    }

    private static void report(String step, int good, int of, String detail) {
        String line = detail.replaceAll("\\s+", " ");
        System.out.println(step + "\t" + good + "\t" + of + "\t" + line.substring(0, Math.min(200, line.length())));
    }

    /** What is wrong with an answer; empty: nothing. */
    private static String trouble(
            Client client, String step, String endpoint, String key, boolean expect, byte[] form, int status, String part) {
        try {
            Answer answer = client.send(endpoint, key, expect, form);
            boolean good = answer.status == status && (answer.text == null || answer.text.contains(part));
            return good ? "" : step + ": " + answer.status + " " + answer.text;
        } catch (Exception error) {
            return step + ": " + error;
        }
    }

    static void run(Client client) throws IOException {
        run(client, true);
    }

    static void run(Client client, boolean canExpect) throws IOException {
        byte[] enrol = content("CLIENT_ENROL");
        byte[] large = form(content("CLIENT_LARGE"), null);
        String key = System.getenv("CLIENT_APP_KEY");
        String named = "\"" + TEMPLATE + "\"";
        int rounds = Integer.parseInt(System.getenv("CLIENT_ROUNDS"));
        String enrolled =
                trouble(client, "enrol", "add?replace=true", key, false, form(enrol, TEMPLATE), 200, named);
        report("enrol", enrolled.isEmpty() ? 1 : 0, 1, enrolled);
        byte[] probe = form(content("CLIENT_PROBE"), null);
        String found = trouble(client, "identify", "identify", key, false, probe, 200, named);
        report("identify", found.isEmpty() ? 1 : 0, 1, found);
        byte[] next = form(enrol, null);
        for (boolean expect : canExpect && System.getenv("CLIENT_NO_EXPECT") == null ? new boolean[] {false, true} : new boolean[] {false}) {
            int count = 0;
            String first = "";
            for (int round = 0; round < rounds; round++) {
                String wrong =
                        trouble(client, "refused", "identify", "wrong", expect, large, 401, "\"code\":401")
                        + trouble(client, "next", "identify", key, false, next, 200, named);
                count += wrong.isEmpty() ? 1 : 0;
                first = first.isEmpty() ? wrong : first;
            }
            report(expect ? "refused, Expect" : "refused", count, rounds, first);
        }
        System.exit(0); // some clients leave threads behind
    }

    private Scenario() {}
}
