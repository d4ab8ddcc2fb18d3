// A peer of ../peers.rs on Scandium: `server PORT` answers what it gets with "echo " before it; `client PORT` sends what it reads
// from its input, line by line, and prints what it gets. Further arguments: the cipher suite, the length of the connection id.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.eclipse.californium.elements.AddressEndpointContext;
import org.eclipse.californium.elements.RawData;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConfig.DtlsRole;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.californium.scandium.dtls.pskstore.SinglePskStore;

public class Echo {
    public static void main(String[] args) throws Exception {
        boolean isServer = args[0].equals("server");
        int port = Integer.parseInt(args[1]);
        DtlsConfig.register();
        var builder = DtlsConnectorConfig.builder(new Configuration());
        builder.set(DtlsConfig.DTLS_ROLE, isServer ? DtlsRole.SERVER_ONLY : DtlsRole.CLIENT_ONLY);
        builder.set(DtlsConfig.DTLS_RECOMMENDED_CIPHER_SUITES_ONLY, false);
        builder.set(DtlsConfig.DTLS_CIPHER_SUITES, Arrays.asList(CipherSuite.getTypeByName(args[2])));
        builder.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, Integer.parseInt(args[3]));
        builder.setPskStore(new SinglePskStore("device", "secretkey1234567".getBytes(StandardCharsets.US_ASCII)));
        var loopback = InetAddress.getLoopbackAddress();
        builder.setAddress(new InetSocketAddress(loopback, isServer ? port : 0));
        var connector = new DTLSConnector(builder.build());
        connector.setRawDataReceiver(raw -> {
            if (isServer) {
                byte[] answer = ("echo " + new String(raw.getBytes(), StandardCharsets.UTF_8)).getBytes(StandardCharsets.UTF_8);
                connector.send(RawData.outbound(answer, raw.getEndpointContext(), null, false));
            } else {
                System.out.println(new String(raw.getBytes(), StandardCharsets.UTF_8));
            }
        });
        connector.start();
        var input = new BufferedReader(new InputStreamReader(System.in));
        var server = new AddressEndpointContext(new InetSocketAddress(loopback, port));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            connector.send(RawData.outbound(line.getBytes(StandardCharsets.UTF_8), server, null, false));
        }
        System.exit(0);
    }
}
