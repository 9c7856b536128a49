// SPDX-License-Identifier: GPL-2.0
/*
 * Files in debugfs whose contents come from Rust.
 *
 * The kernel crate has files in debugfs too, but theirs do not keep the module
 * that they belong to loaded while they are open.
 */

#include <linux/ctype.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "helpers.h"

/* Long enough for every word that a file of ours takes. */
#define WORD_SIZE 192

static int file_show(struct seq_file *seq, void *unused)
{
	const struct kvm_rmi_file *file = seq->private;

	/* Root may open a file for what its mode does not say. */
	if (!file->show)
		return -EACCES;

	return file->show(file, seq);
}

static int file_open(struct inode *inode, struct file *filp)
{
	return single_open(filp, file_show, inode->i_private);
}

static ssize_t file_write(struct file *filp, const char __user *from,
			  size_t size, loff_t *pos)
{
	const struct kvm_rmi_file *file = file_inode(filp)->i_private;
	char word[WORD_SIZE];
	int ret;

	if (!file->store)
		return -EACCES;
	if (size >= sizeof(word))
		return -EINVAL;
	if (copy_from_user(word, from, size))
		return -EFAULT;
	word[size] = '\0';
	ret = file->store(file, strim(word));

	return ret ?: size;
}

static const struct file_operations file_fops = {
	.owner = THIS_MODULE,
	.open = file_open,
	.read = seq_read,
	.write = file_write,
	.llseek = seq_lseek,
	.release = single_release,
};

void kvm_rmi_helper_debugfs_create_file(struct kvm_rmi_file *file,
					const char *name,
					struct dentry *parent)
{
	umode_t mode = (file->show ? 0400 : 0) | (file->store ? 0200 : 0);

	debugfs_create_file(name, mode, parent, file, &file_fops);
}
