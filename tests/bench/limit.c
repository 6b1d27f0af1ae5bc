/* The limit for `pizauth show`: connects, sends, reads and prints, with no check and no format. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char line[8192], *token, *end;
	int server = socket(AF_UNIX, SOCK_STREAM, 0);
	if (argc != 3) return 2;
	strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
	if (connect(server, (struct sockaddr *)&address, sizeof address)) return 5;
	int length = snprintf(line, sizeof line, "{\"version\":1,\"request\":\"show\",\"account\":\"%s\"}\n", argv[2]);
	if (write(server, line, length) != length) return 1;
	if ((length = read(server, line, sizeof line - 1)) <= 0) return 1;
	line[length] = 0;
	if (!(token = strstr(line, "\"access_token\":\"")) || !(end = strchr(token += 16, '"'))) return 1;
	*end = '\n';
	return write(1, token, end - token + 1) != end - token + 1;
}
