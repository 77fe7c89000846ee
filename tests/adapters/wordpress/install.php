<?php // Makes the database and an empty site; prints each user's application password as JSON.
mysqli_connect('localhost', 'root', '', '', 0, getenv('WORDPRESS_DATABASE'))
    ->query('CREATE DATABASE wordpress CHARACTER SET utf8mb4');
define('WP_INSTALLING', true);
require $argv[1] . '/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';
function wp_install_defaults() {} // no first post, page or comment
function wp_new_blog_notification() {} // no mail
wp_install('City of Desert Hot Springs', 'admin', 'admin@city.example', true, '', 'a password');
$GLOBALS['wp_rewrite']->set_permalink_structure('/%postname%/');
update_option('default_comment_status', 'open'); // as it comes, so that closed is our doing
$passwords = [];
foreach (['administrator', 'author', 'contributor'] as $role) {
    $user = wp_insert_user(['user_login' => $role . ' 1', 'user_pass' => 'a password', 'role' => $role]);
    [$passwords[$role . ' 1']] = WP_Application_Passwords::create_new_application_password(
        $user, ['name' => 'tests']
    );
}
echo json_encode($passwords);
