// java.net.HttpURLConnection.

import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;

final class UrlConnectionRun {
    public static void main(String[] arguments) throws Exception {
        System.setProperty("sun.net.http.retryPost", "false");
        Scenario.run((endpoint, key, expect, form) -> {
            HttpURLConnection connection =
                    (HttpURLConnection) new URL(Scenario.URL + "/api/v1.0/" + endpoint).openConnection();
            connection.setRequestMethod("POST");
            connection.setDoOutput(true);
            connection.setReadTimeout(10_000);
            connection.setRequestProperty("APP-ID", Scenario.APP_ID);
            connection.setRequestProperty("APP-KEY", key);
            connection.setRequestProperty("Content-Type", Scenario.CONTENT_TYPE);
            if (expect) {
                connection.setFixedLengthStreamingMode(form.length); // only so does it wait
                connection.setRequestProperty("Expect", "100-continue");
            }
            try (OutputStream out = connection.getOutputStream()) {
                out.write(form);
            } catch (java.net.ProtocolException refused) {
                // "Server rejected operation": the answer came instead of the permission.
            }
            int status = connection.getResponseCode();
            try (InputStream in = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
                // While it streams, it shows no body of a 401.
                String text = in == null ? null : new String(in.readAllBytes(), StandardCharsets.UTF_8);
                return new Scenario.Answer(status, text);
            }
        });
    }
}
