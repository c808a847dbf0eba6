/* A libmodbus server with the registers that the mapper's checks expect.
 *
 * libmodbus_server tcp        listens on a free port of 127.0.0.1
 * libmodbus_server rtu PORT   serves unit 1 on a serial port
 * Prints "ready PORT" when it listens. */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

/* libmodbus cannot listen on a port of the system's choice: find a free one. */
static int listen_on_free_port(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0) {
        return -1;
    }
    *port = ntohs(address.sin_port);
    return listener;
}

static void fill(modbus_mapping_t *map) {
    const uint16_t first[] = {215, 0x41AC, 0x0000, 0x0000, 0x41AC, 0, 1, 0, 2, 0, 0x5368, 0x6F72, 0x6500, 0};
    memcpy(map->tab_registers, first, sizeof first);
    map->tab_registers[20] = 0x000A;
    map->tab_input_registers[0] = 0xFFFB;
    map->tab_input_registers[1] = 1000;
    for (int i = 0; i < 32; i++) {
        map->tab_bits[i] = i % 2 == 0;
        map->tab_input_bits[i] = i % 3 == 0;
    }
}

int main(int count, char **arguments) {
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    modbus_mapping_t *map = modbus_mapping_new(32, 32, 64, 2);
    modbus_t *server;
    int listener = -1, port = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fill(map);
    if (count > 2) {
        server = modbus_new_rtu(arguments[2], 19200, 'N', 8, 1);
        modbus_set_slave(server, 1);
        if (modbus_connect(server) < 0) {
            fprintf(stderr, "cannot open %s: %s\n", arguments[2], modbus_strerror(errno));
            return 1;
        }
    } else {
        server = modbus_new_tcp("127.0.0.1", 0);
        listener = listen_on_free_port(&port);
        if (listener < 0) {
            perror("listen");
            return 1;
        }
    }
    printf("ready %d\n", port);
    fflush(stdout);
    for (;;) {
        if (listener >= 0 && modbus_tcp_accept(server, &listener) < 0) {
            return 1;
        }
        for (;;) {
            int length = modbus_receive(server, query);
            if (length > 0) {
                modbus_reply(server, query, length, map);
            } else if (length < 0 && listener >= 0) {
                modbus_close(server);
                break;
            }
        }
    }
}
