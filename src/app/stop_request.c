/* Signal handlers call what may be called there alone: access(), write(), signal(), raise(). */
#include "stop_request.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t requested, quiet = 1;
static const char *file;
static bool several; /* ranks */
static pid_t launcher;

static void say(const char *text) {
  if (quiet) return;
  const ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
  (void)ignored;
}

/* What there is after an end at once. */
static void say_what_is_left(void) {
  if (!file || access(file, F_OK) != 0) {
    say("\nreap: interrupted; no network was written\n");
    return;
  }
  say("\nreap: interrupted; ");
  say(file);
  say(" has what was done: --resume goes on from it\n");
}

/* A launcher sends SIGTERM also when a peer has died, and in either case leaves a second, as a rule: what is said then
 * is what came of it. */
static void handle(int number, siginfo_t *about, void *context) {
  (void)context;
  if (file && number != SIGINT && !requested) {
    requested = 1;
    if (number == SIGTERM && several && about->si_pid == launcher) return;
    say("\nreap: asked to stop: the step at hand is finished and written first; another signal ends it at once\n");
    return;
  }
  say_what_is_left();
  signal(number, SIG_DFL);
  raise(number);
}

const volatile sig_atomic_t *stop_request_watch(const char *checkpoint, const reap_comm *comm) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1};
  struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_RESTART | SA_SIGINFO};
  sigemptyset(&action.sa_mask);
  file = checkpoint;
  several = reap_comm_size(comm) > 1;
  launcher = getppid();
  quiet = reap_comm_rank(comm) != 0;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    struct sigaction present;
    /* what the user had ignored (nohup, a background job of a script) stays so */
    if (sigaction(numbers[i], NULL, &present) == 0 && present.sa_handler != SIG_IGN)
      sigaction(numbers[i], &action, NULL);
  }
  return &requested;
}

void stop_request_outputs(void) { quiet = 1; }
