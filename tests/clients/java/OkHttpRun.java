// OkHttp, without its own retries.

import java.util.concurrent.TimeUnit;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;

final class OkHttpRun {
    public static void main(String[] arguments) throws Exception {
        OkHttpClient client = new OkHttpClient.Builder()
                .retryOnConnectionFailure(false)
                .readTimeout(10, TimeUnit.SECONDS)
                .build();
        Scenario.run((endpoint, key, expect, form) -> {
            Request.Builder request = new Request.Builder()
                    .url(Scenario.URL + "/api/v1.0/" + endpoint)
                    .header("APP-ID", Scenario.APP_ID)
                    .header("APP-KEY", key)
                    .header("Content-Type", Scenario.CONTENT_TYPE)
                    .post(RequestBody.create((MediaType) null, form));
            if (expect) {
                request.header("Expect", "100-continue");
            }
            try (Response answer = client.newCall(request.build()).execute()) {
                return new Scenario.Answer(answer.code(), answer.body().string());
            }
        });
    }
}
