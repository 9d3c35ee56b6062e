"""Conversations, messages, summaries, feedback and job slots."""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the schema; a way back is not offered, a backup is."""
    op.create_table('conversations',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('platform', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('workspace', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('thread', sa.Text(), nullable=False),
    sa.Column('public', sa.Boolean(), nullable=False),
    sa.Column('first_read_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('read_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_conversations'))
    )
    with op.batch_alter_table('conversations', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_conversations_platform_workspace_channel_thread'), ['platform', 'workspace', 'channel', 'thread'], unique=False)
        batch_op.create_index(batch_op.f('ix_conversations_read_at'), ['read_at'], unique=False)

    op.create_table('job_slots',
    sa.Column('job', sa.Text(), nullable=False),
    sa.Column('slot', sa.Text(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('job', 'slot', name=op.f('pk_job_slots'))
    )
    op.create_table('messages',
    sa.Column('conversation_id', sa.Text(), nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('author', sa.Text(), nullable=False),
    sa.Column('author_id', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('time', sa.DateTime(timezone=True), nullable=True),
    sa.Column('permalink', sa.Text(), nullable=False),
    sa.Column('thread', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['conversation_id'], ['conversations.id'], name=op.f('fk_messages_conversation_id_conversations'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('conversation_id', 'id', name=op.f('pk_messages'))
    )
    with op.batch_alter_table('messages', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_messages_author_id'), ['author_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_messages_conversation_id_position'), ['conversation_id', 'position'], unique=False)

    op.create_table('summaries',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('conversation_id', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('asked_by', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('style', sa.Text(), nullable=False),
    sa.Column('focus', sa.Text(), nullable=False),
    sa.Column('output_language', sa.Text(), nullable=False),
    sa.Column('include_bots', sa.Boolean(), nullable=False),
    sa.Column('adapter', sa.Text(), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('prompt_version', sa.Text(), nullable=False),
    sa.Column('demonstration', sa.Boolean(), nullable=False),
    sa.Column('covered', sa.Integer(), nullable=False),
    sa.Column('left_out', sa.Integer(), nullable=False),
    sa.Column('authors', sa.Integer(), nullable=False),
    sa.Column('first_covered', sa.Text(), nullable=False),
    sa.Column('last_covered', sa.Text(), nullable=False),
    sa.Column('parts', sa.Integer(), nullable=False),
    sa.Column('input_tokens', sa.Integer(), nullable=False),
    sa.Column('output_tokens', sa.Integer(), nullable=False),
    sa.Column('seconds', sa.Float(), nullable=False),
    sa.Column('notes', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['conversation_id'], ['conversations.id'], name=op.f('fk_summaries_conversation_id_conversations'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_summaries'))
    )
    with op.batch_alter_table('summaries', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_summaries_adapter'), ['adapter'], unique=False)
        batch_op.create_index(batch_op.f('ix_summaries_asked_by'), ['asked_by'], unique=False)
        batch_op.create_index(batch_op.f('ix_summaries_conversation_id'), ['conversation_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_summaries_created_at'), ['created_at'], unique=False)

    op.create_table('feedback',
    sa.Column('summary_id', sa.Text(), nullable=False),
    sa.Column('author_id', sa.Text(), nullable=False),
    sa.Column('thumb', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('given_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("thumb IN ('up', 'down')", name=op.f('ck_feedback_thumb')),
    sa.ForeignKeyConstraint(['summary_id'], ['summaries.id'], name=op.f('fk_feedback_summary_id_summaries'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('summary_id', 'author_id', name=op.f('pk_feedback'))
    )
    with op.batch_alter_table('feedback', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_feedback_author_id'), ['author_id'], unique=False)

    op.create_table('summary_sentences',
    sa.Column('summary_id', sa.Text(), nullable=False),
    sa.Column('position', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('supported', sa.Boolean(), nullable=False),
    sa.Column('flagged', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['summary_id'], ['summaries.id'], name=op.f('fk_summary_sentences_summary_id_summaries'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('summary_id', 'position', name=op.f('pk_summary_sentences'))
    )
    op.create_table('summary_sources',
    sa.Column('summary_id', sa.Text(), nullable=False),
    sa.Column('sentence', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('rank', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('conversation_id', sa.Text(), nullable=False),
    sa.Column('message_id', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['conversation_id', 'message_id'], ['messages.conversation_id', 'messages.id'], name=op.f('fk_summary_sources_conversation_id_message_id_messages'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['summary_id', 'sentence'], ['summary_sentences.summary_id', 'summary_sentences.position'], name=op.f('fk_summary_sources_summary_id_sentence_summary_sentences'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('summary_id', 'sentence', 'rank', name=op.f('pk_summary_sources'))
    )
    with op.batch_alter_table('summary_sources', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_summary_sources_conversation_id_message_id'), ['conversation_id', 'message_id'], unique=False)

