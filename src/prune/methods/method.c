/* The table of methods: those of the library, then those that a program has registered. */
#include "reap/method.h"

#include <stdio.h>
#include <string.h>

#include "methods.h"
#include "reap/error.h"

#define ENTRY(name) &reap_method_##name,
#define COUNT(name) +1
static const reap_method *table[REAP_METHODS_MOST] = {REAP_METHODS(ENTRY)};
static int count = REAP_METHODS(COUNT);

const reap_method *reap_method_at(int index) { return index >= 0 && index < count ? table[index] : NULL; }

const reap_method *reap_method_find(const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(table[i]->name, name) == 0) return table[i];
  return NULL;
}

/* One kind of choice; a path has weights already. */
static bool gives_a_choice(const reap_method *m) {
  const unsigned choice = m->gives & ~(unsigned)REAP_GIVES_WEIGHTS;
  const bool single = choice && (choice & (choice - 1)) == 0 && choice <= REAP_GIVES_PATH;
  const bool path = choice == REAP_GIVES_PATH;
  return m->score && single && (!path || choice == m->gives) && (path || !(m->can & REAP_CAN_DISTRIBUTED));
}

int reap_method_register(const reap_method *method) {
  const char *name = method->name;
  if (!name || !*name || name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")])
    return reap_error(REAP_ERR_USAGE, "the name of a method is made of letters, digits and '-', not \"%s\"",
                      name ? name : "");
  if (reap_method_find(name)) return reap_error(REAP_ERR_USAGE, "there is a method %s already", name);
  if (!gives_a_choice(method))
    return reap_error(REAP_ERR_USAGE,
                      "method %s has to give one of scores, order, set and path, with a function score, and a path if "
                      "it can be distributed",
                      name);
  if (count == REAP_METHODS_MOST)
    return reap_error(REAP_ERR_USAGE, "no room for method %s beside %d others", name, count);
  table[count++] = method;
  return REAP_OK;
}

void reap_method_names(char *out, size_t size) {
  size_t used = 0;
  for (int i = 0; i < count && used < size; i++)
    used += (size_t)snprintf(out + used, size - used, "%s%s", i ? "|" : "", table[i]->name);
}

int reap_method_check(const reap_method *method, unsigned offered) {
  static const char *const names[] = {"weights", "moments", "samples", "norm scales", "gradients", "labels", "a seed"};
  for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++)
    if (method->needs & ~offered & 1u << i)
      return reap_error(REAP_ERR_USAGE, "method %s needs %s, which this run does not have", method->name, names[i]);
  return REAP_OK;
}

int reap_method_check_group(const reap_method *method, const reap_graph *graph, const reap_group *group) {
  if (!group->inner && !(method->can & REAP_CAN_COUPLED))
    return reap_error(REAP_ERR_USAGE, "method %s cannot choose for group %s, which several layers share", method->name,
                      group->name);
  return method->check ? method->check(graph, group) : REAP_OK;
}

const reap_method *reap_method_for_sizes(const reap_method *m) {
  return m && m->can & REAP_CAN_SIZES ? m : &reap_method_reap;
}

bool reap_method_holds_moments(const reap_method *m) {
  const bool wants = (m->needs & (REAP_NEEDS_GRAM | REAP_NEEDS_SAMPLES)) != 0 || (m->gives & REAP_GIVES_WEIGHTS) != 0;
  return wants && !(m->can & REAP_CAN_DISTRIBUTED);
}
