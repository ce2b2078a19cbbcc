/*
 * init.c
 *		The first and only process of the machine that scripts/check-emulated emulates: runs
 *		/program with its own arguments, its output to the serial port, says how it ended, and
 *		turns the machine off.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* Bochs ends when this is written to that port. */
#define POWER_PORT 0x8900
#define POWER_WORD "Shutdown"

static void
turn_off(void)
{
	tcdrain(STDOUT_FILENO);
	if (iopl(3) == 0)
		for (const char *c = POWER_WORD; *c != 0; c++)
			outb((unsigned char) *c, POWER_PORT);
	reboot(RB_POWER_OFF);
}

int
main(int argc, char **argv)
{
	int			port = open("/dev/ttyS0", O_WRONLY);
	int			status = -1;
	pid_t		child;

	if (port < 0 || dup2(port, STDOUT_FILENO) < 0 || dup2(port, STDERR_FILENO) < 0 ||
		mount("proc", "/proc", "proc", 0, "") != 0)
		turn_off();
	child = fork();
	if (child == 0)
	{
		execv("/program", argv);
		perror("/program");
		_exit(127);
	}
	waitpid(child, &status, 0);
	printf("# ended with %s %d\n", WIFEXITED(status) ? "status" : "signal",
		   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	fflush(stdout);
	turn_off();
	return 1;
}
