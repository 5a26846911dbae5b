/* Images that movements are measured on: how they are drawn, what each counts for. */
#include "prune/sensitivity/measured_images.h"

#include "model/groups/surgery.h"
#include "prune/sensitivity/paths.h"
#include "prune_runs.h"

const char *const test_suite_name = "measured images";

/* ---------------------------------------------------------------- the drawing */

/* Chances as they should be, slowly: those above one are set to one, one after the other. */
static void textbook_chances(int64_t n, const double *given, int64_t wanted, double *chance) {
  bool certain[64] = {false};
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += given[i];
  for (;;) {
    double rest = 0, left = (double)wanted;
    int64_t largest = -1;
    for (int64_t i = 0; i < n; i++) {
      chance[i] = sum > 0 ? 0.9 * given[i] / sum + 0.1 / (double)n : 1 / (double)n;
      if (certain[i])
        left--;
      else
        rest += chance[i];
    }
    for (int64_t i = 0; i < n; i++) {
      chance[i] = certain[i] ? 1 : chance[i] * left / rest;
      if (!certain[i] && chance[i] > 1 + 1e-12 && (largest < 0 || chance[i] > chance[largest])) largest = i;
    }
    if (largest < 0) return;
    certain[largest] = true;
  }
}

/* With every start every item comes as often as its chance says, with one over it to stand for. */
static void items_come_as_often_as_they_should(void) {
  enum { N = 40, STARTS = 400 };
  for (int64_t wanted = 1; wanted <= N; wanted += 3)
    for (int kind = 0; kind < 4; kind++) {
      double given[N], chance[N], often[N] = {0}, stands_for[N];
      int64_t drawn[N];
      for (int i = 0; i < N; i++)
        given[i] = kind == 0 ? 1 : kind == 1 ? exp(0.2 * i) : kind == 2 ? (i % 7 == 3) * 5.0 : 0;
      textbook_chances(N, given, wanted, chance);
      for (int turn = 0; turn < STARTS; turn++) {
        CHECK_OK(reap_measured_draw(N, given, wanted, (turn + 0.5) / STARTS, drawn, stands_for));
        for (int64_t k = 0; k < wanted; k++) {
          CU_ASSERT_TRUE_FATAL(drawn[k] >= 0 && drawn[k] < N && (k == 0 || drawn[k] > drawn[k - 1]));
          const int64_t item = drawn[k];
          CHECK_NEAR(stands_for[k], 1 / chance[item], 1e-9 / chance[item]);
          often[item]++;
        }
      }
      for (int i = 0; i < N; i++) CHECK_NEAR(often[i] / STARTS, chance[i], 2.5 / STARTS);
    }
}

static void odd_chances_are_even(void) {
  const double given[3][5] = {{0, 0, 0, 0, 0}, {NAN, 1, 1, 1, 1}, {INFINITY, 1, 1, 1, 1}};
  for (int c = 0; c < 3; c++) {
    int64_t drawn[2];
    double stands_for[2];
    CHECK_OK(reap_measured_draw(5, given[c], 2, 0.5, drawn, stands_for));
    CU_ASSERT_TRUE(drawn[0] < drawn[1] && drawn[1] < 5);
    CHECK_NEAR(stands_for[0], 2.5, 1e-12);
    CHECK_NEAR(stands_for[1], 2.5, 1e-12);
  }
}

/* ---------------------------------------------------------------- on a network */

typedef struct subject {
  reap_network network;
  reap_dataset *images;
  reap_graph *cut;
} subject;

/* The network, and one with other weights in the last layer. */
static void begin(subject *s) {
  memset(s, 0, sizeof *s);
  CHECK_OK(reap_network_load(test_comm(), test_source_path(RESNET), &s->network));
  CU_ASSERT_PTR_NOT_NULL_FATAL(s->network.graph);
  CHECK_OK(reap_dataset_open(test_source_path("datasets/fashion/fashion-calib.h5"), &s->images));
  CHECK_OK(reap_graph_clone(s->network.graph, &s->cut));
  for (int i = s->cut->n_nodes - 1; i >= 0; i--) {
    if (!s->cut->nodes[i]->linear) continue;
    const reap_tensor *w = reap_node_constant(s->cut, s->cut->nodes[i], 1);
    double *weights = NULL, *bias = NULL;
    CHECK_OK(reap_alloc(&weights, w->count, sizeof *weights));
    CHECK_OK(reap_alloc(&bias, w->count, sizeof *bias));
    reap_surgery_get_weights(s->cut, i, weights, bias);
    for (int64_t k = 0; k < w->count; k++) weights[k] *= 1 + 0.3 * sin((double)k);
    CHECK_OK(reap_surgery_set_weights(s->cut, i, weights, bias));
    reap_free(&weights);
    reap_free(&bias);
    break;
  }
}

static void end(subject *s) {
  reap_graph_destroy(&s->cut);
  reap_dataset_close(&s->images);
  reap_network_clear(&s->network);
}

static void each_image_counts_for_what_it_stands_for(void) {
  enum { COUNT = 11 };
  const int64_t indices[COUNT] = {3, 4, 9, 12, 20, 31, 32, 33, 40, 57, 99};
  double weights[COUNT], sum = 0, moved = 0;
  subject s;
  begin(&s);
  for (int i = 0; i < COUNT; i++) {
    double one = 0;
    const sensitivity_setting alone = {.images = s.images, .count = 1, .indices = &indices[i]};
    weights[i] = 1 + 0.7 * i;
    CHECK_OK(reap_sensitivity_between(test_comm(), s.network.graph, s.cut, &alone, &one));
    CU_ASSERT_TRUE(one > 0);
    sum += weights[i] * one;
  }
  const sensitivity_setting all = {
      .images = s.images, .count = COUNT, .indices = indices, .weights = weights, .all = 50};
  CHECK_OK(reap_sensitivity_between(test_comm(), s.network.graph, s.cut, &all, &moved));
  CHECK_NEAR(moved, sum / 50, 1e-6 * moved);
  end(&s);
}

/* Half of many images, the same ones on any number of ranks; those in doubt rather than others; and the mean over them
 * is near that over all. */
static void half_of_many_images_tell_as_much(void) {
  enum { ALL = 400 };
  int64_t indices[ALL];
  double of_all = 0, of_some = 0, least = INFINITY, most = 0, sum = 0;
  measured_images some, alone;
  reap_comm *self = NULL;
  subject s;
  begin(&s);
  for (int i = 0; i < ALL; i++) indices[i] = 2 * i;
  sensitivity_setting o = {.images = s.images, .count = ALL, .indices = indices};
  CHECK_OK(reap_measured_choose(test_comm(), s.network.graph, &o, &some));
  CHECK_OK(reap_comm_split(test_comm(), test_rank(), &self));
  CHECK_OK(reap_measured_choose(self, s.network.graph, &o, &alone));
  CU_ASSERT_EQUAL_FATAL(some.count, alone.count);
  CU_ASSERT_TRUE(some.count % s.network.graph->batch == 0);
  CU_ASSERT_TRUE(some.count >= ALL / 2 && some.count < ALL / 2 + s.network.graph->batch);
  CU_ASSERT_EQUAL(memcmp(some.indices, alone.indices, (size_t)some.count * sizeof *some.indices), 0);
  CU_ASSERT_EQUAL(memcmp(some.weights, alone.weights, (size_t)some.count * sizeof *some.weights), 0);
  for (int64_t i = 0; i < some.count; i++) {
    CU_ASSERT_TRUE(some.indices[i] % 2 == 0 && (i == 0 || some.indices[i] > some.indices[i - 1]));
    least = fmin(least, some.weights[i]);
    most = fmax(most, some.weights[i]);
    sum += some.weights[i];
  }
  CU_ASSERT_TRUE(least >= 1 && most > 3 * least); /* in doubt, and of those of which there are many */
  CHECK_NEAR(sum, ALL, 0.1 * ALL);
  CHECK_OK(reap_sensitivity_between(test_comm(), s.network.graph, s.cut, &o, &of_all));
  o.count = some.count;
  o.indices = some.indices;
  o.weights = some.weights;
  o.all = ALL;
  CHECK_OK(reap_sensitivity_between(test_comm(), s.network.graph, s.cut, &o, &of_some));
  CHECK_NEAR(of_some, of_all, 0.2 * of_all);
  reap_measured_clear(&some);
  reap_measured_clear(&alone);
  reap_comm_destroy(&self);
  end(&s);
}

static void few_images_are_all_taken(void) {
  const int64_t indices[] = {1, 5, 7};
  measured_images m;
  subject s;
  begin(&s);
  const sensitivity_setting o = {.images = s.images, .count = 3, .indices = indices};
  CHECK_OK(reap_measured_choose(test_comm(), s.network.graph, &o, &m));
  CU_ASSERT_EQUAL_FATAL(m.count, 3);
  CU_ASSERT_PTR_NULL(m.weights);
  CU_ASSERT_EQUAL(memcmp(m.indices, indices, sizeof indices), 0);
  reap_measured_clear(&m);
  end(&s);
}

const test_case test_cases[] = {{"items come as often as they should", items_come_as_often_as_they_should},
                                {"odd chances are even", odd_chances_are_even},
                                {"each image counts for what it stands for", each_image_counts_for_what_it_stands_for},
                                {"half of many images tell as much", half_of_many_images_tell_as_much},
                                {"few images are all taken", few_images_are_all_taken},
                                {NULL, NULL}};
