/* A treap (a search tree that random priorities keep shallow): insert, search, walk in order. */
#include "compute.h"

#define NODES 1024
#define SEARCHES 2048

struct node {
    u32 key, priority;
    struct node *left, *right;
};
static struct node nodes[NODES];

static struct node *insert(struct node *tree, struct node *node) {
    if (!tree) return node;
    if (node->key < tree->key) {
        tree->left = insert(tree->left, node);
        if (tree->left->priority > tree->priority) {
            struct node *l = tree->left;
            tree->left = l->right;
            l->right = tree;
            return l;
        }
    } else {
        tree->right = insert(tree->right, node);
        if (tree->right->priority > tree->priority) {
            struct node *r = tree->right;
            tree->right = r->left;
            r->left = tree;
            return r;
        }
    }
    return tree;
}

static struct node *search(struct node *tree, u32 key) {
    while (tree && tree->key != key) tree = key < tree->key ? tree->left : tree->right;
    return tree;
}

/* Returns how many keys there are, or a number above NODES when they are out of order. */
static u32 walk(struct node *tree, u32 *previous, u32 *checksum) {
    if (!tree) return 0;
    u32 count = walk(tree->left, previous, checksum);
    if (tree->key <= *previous) return NODES + 1;
    *previous = tree->key;
    *checksum = fold(*checksum, tree->key);
    return count + 1 + walk(tree->right, previous, checksum);
}

int tree_round(u32 round, u32 *checksum) {
    u32 keys = random_seed(5, round), priorities = random_seed(6, round), previous = 0;
    struct node *tree = 0;
    for (int i = 0; i < NODES; i++) {
        nodes[i] = (struct node){random_next(&keys), random_next(&priorities), 0, 0};
        tree = insert(tree, &nodes[i]);
    }
    for (u32 i = 0; i < SEARCHES; i++) {
        /* every other search is for a key that is there; key ^ 1 almost never is, and then must be itself */
        u32 key = nodes[i * 1021 % NODES].key ^ (i & 1);
        struct node *found = search(tree, key);
        if (found ? found->key != key : !(i & 1)) return 0;
        *checksum = fold(*checksum, found ? (u32)(found - nodes) : ~0u);
    }
    return walk(tree, &previous, checksum) == NODES;
}
