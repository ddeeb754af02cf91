// java.net.http.HttpClient, over HTTP/1.1.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;

final class HttpClientRun {
    public static void main(String[] arguments) throws Exception {
        // Before Java 20 it waits for ever when the answer comes instead of the permission (JDK-8286171).
        boolean canExpect = Runtime.version().feature() >= 20;
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        Scenario.run((endpoint, key, expect, form) -> {
            HttpRequest request = HttpRequest.newBuilder(URI.create(Scenario.URL + "/api/v1.0/" + endpoint))
                    .timeout(Duration.ofSeconds(10))
                    .header("APP-ID", Scenario.APP_ID)
                    .header("APP-KEY", key)
                    .header("Content-Type", Scenario.CONTENT_TYPE)
                    .expectContinue(expect)
                    .POST(HttpRequest.BodyPublishers.ofByteArray(form))
                    .build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            return new Scenario.Answer(answer.statusCode(), answer.body());
        }, canExpect);
    }
}
