// Apache HttpClient 4, one pooled connection, without its own retries.

import org.apache.http.client.config.RequestConfig;
import org.apache.http.client.methods.CloseableHttpResponse;
import org.apache.http.client.methods.HttpPost;
import org.apache.http.entity.ByteArrayEntity;
import org.apache.http.impl.client.CloseableHttpClient;
import org.apache.http.impl.client.HttpClients;
import org.apache.http.util.EntityUtils;

final class ApacheRun {
    public static void main(String[] arguments) throws Exception {
        CloseableHttpClient client =
                HttpClients.custom().disableAutomaticRetries().setMaxConnTotal(1).build();
        Scenario.run((endpoint, key, expect, form) -> {
            HttpPost request = new HttpPost(Scenario.URL + "/api/v1.0/" + endpoint);
            request.setHeader("APP-ID", Scenario.APP_ID);
            request.setHeader("APP-KEY", key);
            request.setHeader("Content-Type", Scenario.CONTENT_TYPE);
            request.setConfig(RequestConfig.custom()
                    .setExpectContinueEnabled(expect)
                    .setSocketTimeout(10_000)
                    .build());
            request.setEntity(new ByteArrayEntity(form));
            try (CloseableHttpResponse answer = client.execute(request)) {
                String text = EntityUtils.toString(answer.getEntity());
                return new Scenario.Answer(answer.getStatusLine().getStatusCode(), text);
            }
        });
    }
}
